"""How callers prove who they are: files of tokens, an issuer's keys, Kubernetes' word."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trialbus.adapters.http import serving
from trialbus.contracts.token_file import hash_of, read_tokens, write_tokens
from trialbus.kernel.access import Role
from trialbus.kernel.errors import Refused, Transient
from trialbus.runtime.settings import Settings
from trialbus.runtime.trial_keys import TrialKeysMissing, trial_keys
from trialbus.testkit.access_world import AUDIENCE, ISSUER, OURS, Issuer, StepClock, static
from trialbus.testkit.memory_store import MemoryStore
from trialbus_gateway.adapters.access.building import Unsafe, door_of, tls_of
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.access.json_web_keys import JsonWebKeys, fetching
from trialbus_gateway.adapters.access.static_tokens import StaticTokens
from trialbus_gateway.adapters.access.token_review import TokenReviews, reviewing
from trialbus_gateway.app.failures import TooMany, Unauthenticated
from trialbus_gateway.core.identities import ANYBODY

TOKEN, OTHER = "tbs_one-token", "tbs_another-token"


@asynccontextmanager
async def door_for(folder: Path, **given: Any) -> AsyncIterator[Door]:
    """As the gateway makes it of its settings."""
    settings = Settings.model_validate({"data_dir": folder, **given})
    async with AsyncExitStack() as stack:
        store, keys = MemoryStore().client("gateway"), partial(trial_keys, settings)
        yield await door_of(settings, StepClock(), store, stack, keys)


# Where nobody is asked ----------------------------------------------------------------------------


async def test_on_loopback_nobody_is_asked_unless_settings_say_so(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        async with door_for(tmp_path, host=host) as door:
            assert not door.asks
            assert await door.identify([]) == ANYBODY


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example", ""])
async def test_beyond_loopback_a_gateway_does_not_start_without_authentication(
    tmp_path: Path, host: str
) -> None:
    with pytest.raises(Unsafe, match="TRIALBUS_TOKENS_FILE"):
        async with door_for(tmp_path, host=host):
            pass
    file = tmp_path / "tokens.yaml"
    file.write_bytes(write_tokens([static("a", TOKEN, Role.READER, OURS)]))
    async with door_for(tmp_path, host=host, tokens_file=str(file)) as door:
        assert door.asks
        with pytest.raises(Unauthenticated):
            await door.identify([])


@pytest.mark.parametrize(
    "given",
    [
        {"tokens_file": "/nowhere/tokens.yaml"},
        {"oidc_issuer": ISSUER},
        {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE},
        {"kubernetes_audience": AUDIENCE, "kubernetes_role": "admin"},
        {"kubernetes_audience": AUDIENCE, "kubernetes_credentials_dir": "/nowhere"},
        {"oidc_issuer": ISSUER, "trial_key_file": "/nowhere/key"},
    ],
)
async def test_settings_that_cannot_be_followed_stop_the_start(
    tmp_path: Path, given: dict[str, str]
) -> None:
    with pytest.raises((Unsafe, TrialKeysMissing)):
        async with door_for(tmp_path, **given):
            pass


def test_a_certificate_and_its_key_go_together() -> None:
    assert tls_of(Settings.model_validate({})) is None
    for given in ({"tls_cert": "c"}, {"tls_key": "k"}):
        with pytest.raises(Unsafe):
            tls_of(Settings.model_validate(given))


# Static tokens ------------------------------------------------------------------------------------


async def test_a_file_of_tokens_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, clock = tmp_path / "tokens.yaml", StepClock()
    one, other = static("one", TOKEN, Role.READER, OURS), static("two", OTHER, Role.WRITER, "*")
    file.write_bytes(write_tokens([one]))
    door = Door(clock, [StaticTokens(file, clock)])
    assert (await door.identify([f"Bearer {TOKEN}"])).namespaces == frozenset({OURS})
    file.write_bytes(write_tokens([other]))
    clock.advance(1.1)
    assert (await door.identify([f"Bearer {OTHER}"])).namespaces is None
    with pytest.raises(Unauthenticated):
        await door.identify([f"Bearer {TOKEN}"])
    # A file that somebody spoils shuts nobody out, and lets nobody in.
    file.write_text("tokens: [{name: ")
    clock.advance(1.1)
    assert (await door.identify([f"Bearer {OTHER}"])).name == "token:two"
    file.unlink()
    clock.advance(1.1)
    assert (await door.identify([f"Bearer {OTHER}"])).name == "token:two"


async def test_a_static_token_ends_when_its_entry_says(tmp_path: Path) -> None:
    file, clock = tmp_path / "tokens.yaml", StepClock()
    ending = static("one", TOKEN, Role.READER, OURS, ends_in_s=600)
    assert ending.expires is not None
    clock.set_now(ending.expires.timestamp() - 1)
    file.write_bytes(write_tokens([ending]))
    tokens = StaticTokens(file, clock)
    assert (await tokens.identify(TOKEN)).expires_at == ending.expires.timestamp()
    clock.advance(1.0)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.identify(TOKEN)


def test_a_file_of_tokens_holds_no_token(tmp_path: Path) -> None:
    del tmp_path
    written = write_tokens([static("one", TOKEN, Role.READER, OURS)])
    assert TOKEN.encode() not in written
    assert hash_of(TOKEN).encode() in written
    assert write_tokens(read_tokens(written)) == written


@pytest.mark.parametrize(
    "entry",
    [
        {"role": "trial"},
        {"role": "root"},
        {"namespaces": []},
        {"namespaces": ["Team_A"]},
        {"namespaces": "team-a"},
        {"sha256": "short"},
        {"name": "a b"},
        {"admin": True},
        {"expires": "2030-01-01T00:00:00"},
    ],
)
def test_an_entry_that_says_more_or_less_than_it_may_is_refused(entry: dict[str, Any]) -> None:
    good = {"name": "a", "sha256": "0" * 64, "role": "reader", "namespaces": ["team-a"]}
    assert read_tokens(json.dumps({"tokens": [good]}).encode())
    with pytest.raises(Refused) as refused:
        read_tokens(json.dumps({"tokens": [{**good, **entry}]}).encode())
    assert "0" * 64 not in str(refused.value)


async def test_who_shows_many_wrong_tokens_has_to_wait_and_nobody_else(tmp_path: Path) -> None:
    file, clock = tmp_path / "tokens.yaml", StepClock()
    file.write_bytes(write_tokens([static("one", TOKEN, Role.READER, OURS)]))
    door = Door(clock, [StaticTokens(file, clock)], wrong_at_once=3)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await door.identify(["Bearer wrong"], "192.0.2.1")
    with pytest.raises(TooMany):
        await door.identify(["Bearer wrong"], "192.0.2.1")
    with pytest.raises(Unauthenticated):
        await door.identify(["Bearer wrong"], "192.0.2.2")
    assert await door.identify([f"Bearer {TOKEN}"], "192.0.2.1")


# An issuer's keys ---------------------------------------------------------------------------------


async def test_keys_come_from_the_issuers_address_over_http(tmp_path: Path) -> None:
    issuer, asked = Issuer(), list[str]()

    async def keys(request: Request) -> Response:
        asked.append(request.url.path)
        return Response(issuer.jwks(), media_type="application/json")

    async with serving(
        Starlette(routes=[Route("/{path:path}", keys)]), host="127.0.0.1", port=0
    ) as port:
        given = {
            "oidc_issuer": ISSUER,
            "oidc_audience": AUDIENCE,
            "oidc_jwks_url": f"http://127.0.0.1:{port}/certs",
            "oidc_role_claim": "realm_access.roles",
        }
        async with door_for(tmp_path, **given) as door:
            token = issuer.token(realm_access={"roles": ["uma", "worker", "writer"]}, role=None)
            identity = await door.identify([f"Bearer {token}"])
            assert (identity.role, identity.namespaces) == (Role.WRITER, frozenset({OURS}))
            # Whatever a token says of other addresses.
            evil = f"http://127.0.0.1:{port}/evil"
            for header in ("jku", "x5u"):
                with pytest.raises(Unauthenticated):
                    await door.identify([f"Bearer {issuer.by_a_stranger({header: evil})}"])
    assert asked == ["/certs"]


async def test_an_unknown_key_id_asks_the_issuer_at_most_every_half_minute() -> None:
    issuer, clock = Issuer(), StepClock()
    keys = JsonWebKeys(issuer.fetch, clock)
    assert await keys.key("r1", "RS256") is not None
    for number in range(50):
        assert await keys.key(f"made-up-{number}", "RS256") is None
    assert issuer.fetched == 1
    clock.advance(31)
    assert await keys.key("made-up", "RS256") is None
    assert issuer.fetched == 2
    # Kept for five minutes.
    clock.advance(299)
    assert await keys.key("r1", "RS256") is not None
    assert issuer.fetched == 2
    clock.advance(2)
    assert await keys.key("r1", "RS256") is not None
    assert issuer.fetched == 3


async def test_an_issuer_that_is_away_is_believed_for_an_hour() -> None:
    issuer, clock, away = Issuer(), StepClock(), [True]

    async def fetch() -> bytes:
        if away[0]:
            raise httpx.ConnectError("away")
        return await issuer.fetch()

    keys = JsonWebKeys(fetch, clock)
    with pytest.raises(Transient):
        await keys.key("r1", "RS256")
    away[0] = False
    clock.advance(3)
    assert await keys.key("r1", "RS256") is not None
    away[0] = True
    clock.advance(3000)
    assert await keys.key("r1", "RS256") is not None
    clock.advance(700)
    with pytest.raises(Transient):
        await keys.key("r1", "RS256")


async def test_a_key_is_never_used_with_another_algorithm() -> None:
    keys = JsonWebKeys(Issuer().fetch, StepClock())
    assert await keys.key("r1", "ES256") is None
    assert await keys.key("e1", "RS256") is None
    assert await keys.key("h1", "RS256") is None
    assert await keys.key("r1", "HS256") is None
    # Without a key id there is one of each algorithm.
    assert await keys.key(None, "ES256") is not None


async def test_a_document_of_keys_that_is_too_large_is_not_read() -> None:
    def huge(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"x" * (300 * 1024))

    async with httpx.AsyncClient(transport=httpx.MockTransport(huge)) as client:
        with pytest.raises(ValueError, match="too large"):
            await fetching("http://issuer/keys", client)()


# Kubernetes' word ---------------------------------------------------------------------------------


class ApiServer:
    """TokenReview of an API server: accounts by token."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.status: dict[str, Any] = {}

    async def review(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.shown.append(request.headers["authorization"])
        return JSONResponse({**body, "status": self.status}, status_code=201)

    @property
    def app(self) -> Starlette:
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        return Starlette(routes=[Route(path, self.review, methods=["POST"])])


def account(name: str, *, audiences: list[str] | None = None) -> dict[str, Any]:
    told = {"authenticated": True, "user": {"username": name}}
    return told if audiences is None else {**told, "audiences": audiences}


@asynccontextmanager
async def reviewed(folder: Path) -> AsyncIterator[tuple[TokenReviews, ApiServer, StepClock]]:
    server, clock = ApiServer(), StepClock()
    (folder / "token").write_text("our-own-token\n")
    async with (
        serving(server.app, host="127.0.0.1", port=0) as port,
        httpx.AsyncClient() as client,
    ):
        review = reviewing(
            client, api=f"http://127.0.0.1:{port}", credentials=folder, audience=AUDIENCE
        )
        yield (
            TokenReviews(review, clock, audience=AUDIENCE, role=Role.WORKER),
            server,
            clock,
        )


async def test_a_service_account_acts_in_its_own_namespace(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (reviews, server, _):
        server.status = account("system:serviceaccount:team-a:ci", audiences=[AUDIENCE])
        identity = await reviews.identify("pod-token")
        assert identity.namespaces == frozenset({"team-a"})
        assert (identity.role, identity.name) == (Role.WORKER, "system:serviceaccount:team-a:ci")
        assert server.asked[0]["spec"] == {"token": "pod-token", "audiences": [AUDIENCE]}
        assert server.shown == ["Bearer our-own-token"]


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"authenticated": False},
        {"authenticated": "true", "user": {"username": "system:serviceaccount:team-a:ci"}},
        account("system:serviceaccount:team-a:ci"),
        account("system:serviceaccount:team-a:ci", audiences=["https://kubernetes.default.svc"]),
        account("system:admin", audiences=[AUDIENCE]),
        account("system:serviceaccount:Team_A:ci", audiences=[AUDIENCE]),
        account("system:serviceaccount:team-a:", audiences=[AUDIENCE]),
    ],
)
async def test_whom_kubernetes_does_not_vouch_for_is_nobody(
    tmp_path: Path, status: dict[str, Any]
) -> None:
    async with reviewed(tmp_path) as (reviews, server, _):
        server.status = status
        with pytest.raises(Unauthenticated):
            await reviews.identify("pod-token")


async def test_a_review_is_kept_for_a_minute_at_most(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (reviews, server, clock):
        server.status = account("system:serviceaccount:team-a:ci", audiences=[AUDIENCE])
        for _ in range(5):
            await reviews.identify("pod-token")
        assert len(server.asked) == 1
        server.status = {"authenticated": False}
        clock.advance(60)
        with pytest.raises(Unauthenticated):
            await reviews.identify("pod-token")


async def test_made_up_tokens_do_not_make_us_flood_the_api_server(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (reviews, server, _):
        refused = []
        for number in range(80):
            with pytest.raises((Unauthenticated, TooMany)) as error:
                await reviews.identify(f"made-up-{number}")
            refused.append(error.type)
        assert len(server.asked) == 50
        assert refused[50:] == [TooMany] * 30


async def test_an_api_server_that_is_away_is_no_verdict(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        review = reviewing(client, api="http://127.0.0.1:9", credentials=tmp_path, audience="a")
        with pytest.raises(Transient) as error:
            await review("secret-pod-token")
        (tmp_path / "token").write_text("our-own-token")
        with pytest.raises(Transient) as other:
            await review("secret-pod-token")
    assert "token" not in str(other.value).replace("for tokens", "")
    assert "secret" not in str(error.value)
