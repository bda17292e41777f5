"""What metric sources need of the place where the launcher itself runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trialbus.kernel.access import TrialGrant
from trialbus.kernel.errors import Transient
from trialbus_trial_launcher.app.sources.scraping import Get


async def _get_nothing(url: str, headers: Sequence[tuple[str, str]]) -> bytes:
    del headers
    raise Transient(f"{url} cannot be asked from here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """get: over HTTP. free_port: of this machine, another one each time; None: runs have addresses
    of their own. grpc_address, http_address: of the gateway, now; None: not known. token: by which
    an attempt shows the gateway who it is; None: it asks nobody."""

    get: Get = _get_nothing
    free_port: Callable[[], int | None] = lambda: None
    grpc_address: Callable[[], str | None] = lambda: None
    http_address: Callable[[], str | None] = lambda: None
    token: Callable[[TrialGrant], str | None] = lambda _: None
