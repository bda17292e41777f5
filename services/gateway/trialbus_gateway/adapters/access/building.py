"""The door as the settings want it, and whether a gateway may listen where it is told to."""

import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from trialbus.adapters.http import Tls
from trialbus.kernel.access import GIVEN_ROLES, Role
from trialbus.kernel.addresses import is_loopback
from trialbus.kernel.errors import Refused
from trialbus.ports.clock import Clock
from trialbus.ports.store import Store
from trialbus_gateway.adapters.access.door import Door, Way
from trialbus_gateway.adapters.access.static_tokens import StaticTokens
from trialbus_gateway.adapters.access.trial_bearers import TrialBearers


class DoorSettings(Protocol):
    """What is read of the service's settings; docs/reference/settings.md says what each means."""

    host: str
    tls_cert: str
    tls_key: str
    tokens_file: str
    oidc_issuer: str
    oidc_audience: str
    oidc_jwks_url: str
    oidc_namespaces_claim: str
    oidc_role_claim: str
    kubernetes_audience: str
    kubernetes_role: str
    kubernetes_api: str
    kubernetes_credentials_dir: str
    requests_per_second: float
    streams_per_identity: int

    @property
    def authenticates(self) -> bool: ...


class Unsafe(Exception):
    """The settings would open the door to strangers, or cannot be followed."""


def check_safety(settings: DoorSettings) -> None:
    """What the settings alone tell. Raises Unsafe."""
    tls_of(settings)
    if not settings.authenticates and not is_loopback(settings.host):
        raise Unsafe(
            f"TRIALBUS_HOST is {settings.host}, and nothing says who may use the gateway: "
            "set TRIALBUS_TOKENS_FILE, TRIALBUS_OIDC_ISSUER or TRIALBUS_KUBERNETES_AUDIENCE, "
            "or listen on 127.0.0.1"
        )


async def door_of(
    settings: DoorSettings,
    clock: Clock,
    store: Store,
    stack: AsyncExitStack,
    keys: Callable[[], Sequence[bytes]],
) -> Door:
    """store: unguarded. stack: closes with the service. keys: of trials' tokens. Raises Unsafe."""
    check_safety(settings)
    if not settings.authenticates:
        return Door(clock)
    ways: list[Way] = [TrialBearers(keys(), store)]
    if settings.tokens_file:
        ways.append(_static_tokens(settings.tokens_file, clock))
    if settings.oidc_issuer:
        ways.append(await _oidc(settings, clock, stack))
    if settings.kubernetes_audience:
        ways.append(await _token_reviews(settings, clock, stack))
    return Door(
        clock,
        ways,
        rate=settings.requests_per_second,
        streams=settings.streams_per_identity,
    )


def tls_of(settings: DoorSettings) -> Tls | None:
    """None: the HTTP API is served without. Raises Unsafe."""
    if not settings.tls_cert and not settings.tls_key:
        return None
    if not (settings.tls_cert and settings.tls_key):
        raise Unsafe("TRIALBUS_TLS_CERT and TRIALBUS_TLS_KEY go together")
    return Tls(certificate=settings.tls_cert, key=settings.tls_key)


def _static_tokens(path: str, clock: Clock) -> StaticTokens:
    try:
        return StaticTokens(Path(path), clock)
    except (OSError, Refused) as error:
        raise Unsafe(f"TRIALBUS_TOKENS_FILE {path}: {error}") from error


async def _oidc(settings: DoorSettings, clock: Clock, stack: AsyncExitStack) -> Way:
    # Loaded only where they are needed: an HTTP client and cryptography are large.
    httpx: Any = import_module("httpx")
    oidc: Any = import_module("trialbus_gateway.adapters.access.oidc")
    keys: Any = import_module("trialbus_gateway.adapters.access.json_web_keys")
    if not settings.oidc_audience or not settings.oidc_jwks_url:
        raise Unsafe("TRIALBUS_OIDC_ISSUER needs TRIALBUS_OIDC_AUDIENCE and TRIALBUS_OIDC_JWKS_URL")
    client = await stack.enter_async_context(httpx.AsyncClient(trust_env=True))
    fetch = keys.fetching(settings.oidc_jwks_url, client)
    wanted = oidc.OidcSettings(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        namespaces_claim=settings.oidc_namespaces_claim,
        role_claim=settings.oidc_role_claim,
    )
    way: Way = oidc.Oidc(wanted, keys.JsonWebKeys(fetch, clock), clock)
    return way


async def _token_reviews(settings: DoorSettings, clock: Clock, stack: AsyncExitStack) -> Way:
    httpx: Any = import_module("httpx")
    reviews: Any = import_module("trialbus_gateway.adapters.access.token_review")
    if settings.kubernetes_role not in GIVEN_ROLES or settings.kubernetes_role == Role.ADMIN:
        raise Unsafe("TRIALBUS_KUBERNETES_ROLE: one of reader, writer, worker")
    folder = Path(settings.kubernetes_credentials_dir)
    try:
        trusted = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    except OSError as error:
        raise Unsafe(f"TRIALBUS_KUBERNETES_CREDENTIALS_DIR {folder}: {error}") from error
    client = await stack.enter_async_context(httpx.AsyncClient(verify=trusted, trust_env=False))
    review = reviews.reviewing(
        client,
        api=settings.kubernetes_api,
        credentials=folder,
        audience=settings.kubernetes_audience,
    )
    way: Way = reviews.TokenReviews(
        review, clock, audience=settings.kubernetes_audience, role=Role(settings.kubernetes_role)
    )
    return way
