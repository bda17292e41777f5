"""How callers prove who they are: files of tokens, and an issuer's keys."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from trialbus.adapters.http import serving
from trialbus.contracts.token_file import hash_of, read_tokens, write_tokens
from trialbus.kernel.access import Role
from trialbus.kernel.errors import Refused, Transient
from trialbus.local.hosting import host_service
from trialbus.runtime.settings import Settings
from trialbus.runtime.trial_keys import TrialKeysMissing, trial_keys
from trialbus.testkit.access_world import AUDIENCE, ISSUER, OURS, Issuer, StepClock, static
from trialbus.testkit.gateway_world import parts_of
from trialbus.testkit.memory_bus import MemoryBus
from trialbus.testkit.memory_store import MemoryStore
from trialbus_gateway.adapters.access import json_web_keys
from trialbus_gateway.adapters.access.building import Unsafe, door_of, tls_of
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.access.json_web_keys import JsonWebKeys, fetching
from trialbus_gateway.adapters.access.oidc import Oidc, OidcSettings
from trialbus_gateway.adapters.access.static_tokens import StaticTokens
from trialbus_gateway.app.failures import TooMany, Unauthenticated
from trialbus_gateway.core.identities import ANYBODY
from trialbus_gateway.main import service

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


async def test_the_service_itself_opens_no_door_to_strangers(tmp_path: Path) -> None:
    bus, store = MemoryBus().client("gateway"), MemoryStore().client("gateway")
    parts = parts_of(bus, store, "gateway", tmp_path)
    open_to_all = Settings.model_validate({"data_dir": tmp_path, "host": "0.0.0.0"})
    with pytest.raises(Unsafe, match=r"0\.0\.0\.0"):
        await service.build(replace(parts, settings=open_to_all))
    assert await service.build(parts)


@pytest.mark.parametrize("given", [{"host": "0.0.0.0"}, {"tls_cert": "/nowhere/tls.crt"}])
async def test_unsafe_settings_are_refused_before_any_server_is_asked_for(
    tmp_path: Path, given: dict[str, str]
) -> None:
    nobody = {"nats_url": "nats://127.0.0.1:9", "mongo_url": "mongodb://127.0.0.1:9"}
    settings = Settings.model_validate({"data_dir": tmp_path, **nobody, **given})
    with pytest.raises(Unsafe):
        async with asyncio.timeout(5):
            await host_service("gateway", settings, asyncio.Event())


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


class CountedKeys(JsonWebKeys):
    """How often a signature was judged."""

    judged = 0

    async def key(self, kid: str | None, algorithm: str) -> Any:
        self.judged += 1
        return await super().key(kid, algorithm)


async def test_a_verdict_on_a_token_is_kept_for_half_a_minute_and_not_beyond_its_end() -> None:
    issuer, clock = Issuer(), StepClock()
    wanted = OidcSettings(
        issuer=ISSUER, audience=AUDIENCE, namespaces_claim="namespaces", role_claim="role"
    )
    keys = CountedKeys(issuer.fetch, clock)
    oidc, token = Oidc(wanted, keys, clock), issuer.token()
    # It ended 50 s ago, and clocks may differ by 60.
    ending = issuer.token(exp=int(clock.now()) - 50)
    for _ in range(3):
        assert oidc.takes(token)
        await oidc.identify(token)
        await oidc.identify(ending)
    assert keys.judged == 2
    clock.advance(11)
    await oidc.identify(token)
    assert keys.judged == 2
    await oidc.identify(ending)
    assert keys.judged == 3
    clock.advance(20)
    await oidc.identify(token)
    assert keys.judged == 4


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


async def test_keys_that_come_drop_by_drop_keep_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_web_keys, "_TIMEOUT_S", 0.2)

    async def drops(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            never = asyncio.Event()
            while True:
                yield b" "
                with suppress(TimeoutError):
                    await asyncio.wait_for(never.wait(), 0.05)

        return StreamingResponse(pieces())

    app = Starlette(routes=[Route("/keys", drops)])
    async with serving(app, host="127.0.0.1", port=0) as port, httpx.AsyncClient() as client:
        fetch = fetching(f"http://127.0.0.1:{port}/keys", client)
        async with asyncio.timeout(5):
            with pytest.raises(Transient):
                await JsonWebKeys(fetch, StepClock()).key("any", "RS256")
