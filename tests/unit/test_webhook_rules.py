"""What webhooks go by: signatures, retries, the operator's file, ends of experiments."""

import base64
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.conditions import Condition
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.testkit.experiment_states import experiment
from trialbus_gateway.core import webhook_retries as retries
from trialbus_gateway.core.webhook_ends import ends_of
from trialbus_gateway.core.webhook_retries import Verdict
from trialbus_gateway.core.webhook_settings import read_webhooks, shown_url
from trialbus_gateway.core.webhook_signatures import (
    headers_of,
    message_id,
    read_secrets,
    signature,
)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(40, 72))).decode()


# Signatures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "name", "timestamp", "body", "expected"),
    [
        # Of the libraries of Standard Webhooks, and of Svix' documentation.
        (
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "plJ3nmyCDGBKInavdOK15jsl",
            "msg_loFOjxBNrRLzqYUf",
            1731705121,
            b'{"event_type":"ping","data":{"success":true}}',
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
    ],
)
def test_a_signature_is_the_published_one(
    secret: str, name: str, timestamp: int, body: bytes, expected: str
) -> None:
    assert signature(base64.b64decode(secret), name, timestamp, body) == expected


def test_every_secret_signs_and_the_id_has_no_full_stop() -> None:
    event_id = "u@14.experiment.succeeded"
    headers = headers_of([b"new" * 10, b"old" * 10], event_id, 7, b"{}")
    assert headers["webhook-id"] == message_id(event_id)
    assert "." not in headers["webhook-id"]
    assert headers["webhook-timestamp"] == "7"
    assert headers["webhook-signature"].split(" ") == [
        signature(secret, message_id(event_id), 7, b"{}") for secret in (b"new" * 10, b"old" * 10)
    ]
    assert message_id(event_id) != message_id("u@15.experiment.succeeded")


def test_secrets_are_lines_with_the_newest_first() -> None:
    assert read_secrets(f"\n{SECRET}\n") == (bytes(range(32)),)


@pytest.mark.parametrize("text", ["", "hidden-word", "whsec_hidden*", "whsec_aGlkZGVu"])
def test_a_wrong_secret_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"no secret|line 1") as caught:
        read_secrets(text)
    assert "hidden" not in str(caught.value)
    assert "aGlkZGVu" not in str(caught.value)


# Retries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (0, Verdict.AGAIN),
        (302, Verdict.AGAIN),
        (408, Verdict.AGAIN),
        (425, Verdict.AGAIN),
        (429, Verdict.AGAIN),
        (500, Verdict.AGAIN),
        (503, Verdict.AGAIN),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (410, Verdict.REFUSED),
    ],
)
def test_an_answer_is_taken_refused_or_tried_again(status: int, verdict: Verdict) -> None:
    assert retries.verdict_of(status) is verdict


def test_delays_double_to_a_limit_and_are_at_random_by_half() -> None:
    assert [retries.delay_s(n, 0.0) for n in (1, 2, 3, 9, 10, 99)] == [0.5, 1, 2, 128, 150, 150]
    assert retries.delay_s(1, 0.999) == pytest.approx(0.9995)
    assert retries.delay_s(10, 1.0) == 300.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0.0),
        ("17", 17.0),
        ("999999999999", 3600.0),
        ("-5", 0.0),
        ("soon", 0.0),
        # 1,000,000,000 s after the epoch.
        ("Sun, 09 Sep 2001 01:46:40 GMT", 40.0),
        ("Sun, 09 Sep 2001 01:00:00 GMT", 0.0),
    ],
)
def test_a_receiver_says_how_long_to_wait(header: str, seconds: float) -> None:
    assert retries.retry_after_s(header, now=1_000_000_000.0 - 40.0) == seconds


def test_an_event_is_given_up_when_others_are_taken_and_kept_when_none_is() -> None:
    day = 24 * 3600.0
    assert not retries.is_given_up(day * 0.9, 0.0, last_success_at=100.0)
    assert retries.is_given_up(day * 1.1, 0.0, last_success_at=100.0)
    assert not retries.is_given_up(day * 6.9, 0.0, last_success_at=None)
    assert retries.is_given_up(day * 7.1, 0.0, last_success_at=None)


# The file -----------------------------------------------------------------------------------------


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "name": "chat",
        "url": "https://example.com/hooks?key=1",
        "secret_file": "chat.secret",
        **changes,
    }


def test_a_webhook_wants_what_its_filters_say() -> None:
    [webhook] = read_webhooks(
        {
            "webhooks": [
                entry(
                    namespaces=["lab"],
                    experiments="nightly-*",
                    types=["experiment.succeeded", "trial.*"],
                )
            ]
        }
    )
    wants = webhook.wants.wants
    assert wants("lab", "nightly-1", "experiment.succeeded")
    assert wants("lab", "nightly-1", "trial.killed")
    assert not wants("lab", "nightly-1", "experiment.failed")
    assert not wants("lab", "daily-1", "experiment.succeeded")
    assert not wants("shop", "nightly-1", "experiment.succeeded")
    # A hint of services is nobody's business.
    assert "trial.stop_requested" not in webhook.wants.types


def test_without_filters_it_wants_the_life_of_every_experiment() -> None:
    [webhook] = read_webhooks({"webhooks": [entry()]})
    assert webhook.wants.wants("any", "thing", "experiment.failed")
    assert not webhook.wants.wants("any", "thing", "trial.created")
    assert webhook.timeout_s == 10.0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "No Name"}, "name"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://example.com/\r\nhost: other"}, "url"),
        ({"secret_file": None}, "secret_file"),
        ({"namespaces": "lab"}, "namespaces"),
        ({"namespaces": [5]}, "namespaces"),
        ({"experiments": "a/b"}, "experiments"),
        ({"types": ["experiment.exploded"]}, "types"),
        ({"types": []}, "types"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": 3600}, "timeout"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        read_webhooks({"webhooks": [entry(**changes)]})
    assert [it.field for it in refused.value.problems] == [f"webhooks[0].{field}"]


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(Refused, match="twice"):
        read_webhooks({"webhooks": [entry(), entry()]})


def test_the_url_is_shown_without_what_may_be_secret() -> None:
    assert shown_url("https://me:word@example.com:8/a?key=1#x") == "https://example.com:8/a?...="


# The how-to page, as written ---------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/receive-webhooks.md").read_text()


def block(language: str) -> str:
    [text] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return str(text)


def test_the_receiver_of_the_page_takes_our_signatures_and_no_others() -> None:
    page: dict[str, Any] = {}
    exec(block("python"), page)
    verified = page["verified"]
    now, body = int(time.time()), b'{"specversion": "1.0"}'
    headers = dict(headers_of(read_secrets(f"{SECRET}\n{OLD_SECRET}"), "e1", now, body))
    assert verified(SECRET, headers, body)
    assert verified(OLD_SECRET, headers, body)
    assert not verified(SECRET, headers, body + b" ")
    assert not verified(SECRET, headers | {"webhook-id": "msg_other"}, body)
    late = dict(headers_of(read_secrets(SECRET), "e1", now - 301, body))
    assert not verified(SECRET, late, body)


def test_the_file_of_the_page_is_one() -> None:
    chat, archive = read_webhooks(load_document(block("yaml").encode()))
    assert chat.wants.types == ("experiment.succeeded", "experiment.failed")
    assert archive.wants.wants("team-a", "nightly-7", "trial.succeeded")
    assert archive.timeout_s == 20.0


# Ends ---------------------------------------------------------------------------------------------


def ended(phase: ExperimentPhase, **changes: Any) -> Experiment:
    verdict = Condition(
        type="Succeeded",
        status=True,
        reason="ExperimentGoalReached",
        message="Reached",
        updated_at=50.0,
        transitioned_at=50.0,
    )
    state = replace(experiment(), phase=phase, version=9, completed_at=50.0)
    return replace(state, conditions=(verdict,), **changes)


def test_a_finished_experiment_tells_its_end_as_the_event_did() -> None:
    state = ended(ExperimentPhase.SUCCEEDED)
    [event] = ends_of(state, since=50.0)
    assert (event.id, event.at) == (f"{state.id}@9.experiment.succeeded", 50.0)
    assert (event.reason, event.message) == ("ExperimentGoalReached", "Reached")
    assert list(ends_of(state, since=50.1)) == []


def test_a_deleted_one_tells_both_how_it_ended_and_that_it_is_gone() -> None:
    state = ended(ExperimentPhase.DELETED)
    state = replace(state, completed_at=60.0)
    assert [(it.type, it.at) for it in ends_of(state, since=0.0)] == [
        ("experiment.succeeded", 50.0),
        ("experiment.deleted", 60.0),
    ]


def test_an_archive_that_expires_is_not_deleted_twice() -> None:
    archived = ended(ExperimentPhase.ARCHIVED, keep_history=True)
    expired = ended(ExperimentPhase.DELETED, keep_history=True)
    assert [it.type for it in ends_of(archived, since=50.0)][-1] == "experiment.deleted"
    assert "experiment.deleted" not in [it.type for it in ends_of(expired, since=50.0)]
