"""What a launcher on a cluster needs of its settings before it begins."""

import pytest

from trialbus.contracts.shipping import no_address
from trialbus.kernel.errors import Refused
from trialbus.runtime.settings import Settings
from trialbus_trial_launcher.main import service


def settings(**given: str) -> Settings:
    return Settings.model_validate({"place": "kubernetes", "wrapper_image": "wrapper:1", **given})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "must be given with TRIALBUS_WRAPPER_IMAGE"),
        ("https://gateway.trialbus:8080", "is https, which the wrapper"),
        ("HTTPS://gateway", "is https, which the wrapper"),
        ("gateway:8080", "is no http:// address"),
        ("http://", "is no plain address"),
        ("http://gateway:0", "is no plain address"),
        ("http://gateway:65536", "is no plain address"),
        ("http://[::1", "is no plain address"),
        ("http://me:secret@gateway", "is no plain address"),
        ("http://gateway/?a=b", "is no plain address"),
    ],
)
def test_a_gateway_that_the_wrapper_cannot_speak_to_is_refused(url: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        service.check(settings(trial_gateway_url=url))
    [problem] = caught.value.problems
    assert problem.field == "TRIALBUS_TRIAL_GATEWAY_URL"
    assert said in problem.message


@pytest.mark.parametrize(
    "url",
    ["http://gateway.trialbus:8080", "HTTP://gateway", "http://[::1]:80/base/", "http://1.2.3.4"],
)
def test_a_plain_address_is_taken(url: str) -> None:
    assert no_address(url) == ""
    service.check(settings(trial_gateway_url=url))


@pytest.mark.parametrize("given", [{"wrapper_image": ""}, {"place": "local"}])
def test_without_the_wrapper_https_is_the_trials_own_matter(given: dict[str, str]) -> None:
    told = settings(trial_gateway_url="https://gateway", **given)
    service.check(told)
    assert no_address(told.trial_gateway_url)
