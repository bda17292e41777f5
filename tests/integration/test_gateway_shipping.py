"""The gateway's routes for pods: whose token opens them, and what the launcher's answers become."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.messages import Request
from trialbus.contracts.shipping import MAX_PLACE, Claim, ClaimReply, Output, OutputReply
from trialbus.testkit.access_world import AccessWorld, access_world


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[AccessWorld]:
    async with access_world(tmp_path) as made:
        yield made


class Launcher:
    """Says what it is told to say, and keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[Request] = []
        self.claimed = ClaimReply(held=True, stored_to=7)
        self.shipped = OutputReply(stored_to=3, note="bm90ZQ")

    async def claims(self, requests: Sequence[Request]) -> list[bytes]:
        self.heard += requests
        return [self.claimed.to_bytes()] * len(requests)

    async def outputs(self, requests: Sequence[Request]) -> list[bytes]:
        self.heard += requests
        return [self.shipped.to_bytes()] * len(requests)


@pytest.fixture
async def launcher(access: AccessWorld) -> AsyncIterator[Launcher]:
    made = Launcher()
    serve = access.world.bus.client("launcher").serve
    async with (
        serve(subjects.claims(), "launcher", made.claims, max_group=8),
        serve(subjects.outputs(), "launcher", made.outputs, max_group=8),
    ):
        yield made


def path(access: AccessWorld, verb: str, attempt: int = 1) -> str:
    return f"/v1/trials/{access.ours[1].name}/attempts/{attempt}/{verb}"


async def claim(access: AccessWorld, token: str | None = None, **more: Any) -> tuple[int, str]:
    body = {"json": {"holder": "pod-1"}, **more}
    return await access.call(token or access.trial_token(), "POST", path(access, "claim"), **body)


async def ship(access: AccessWorld, data: bytes, query: str = "") -> tuple[int, str]:
    where = path(access, "output") + query
    return await access.call(access.trial_token(), "POST", where, content=data)


async def test_a_trials_own_token_claims_and_ships(access: AccessWorld, launcher: Launcher) -> None:
    assert await claim(access) == (200, '{"stored_to":7}')
    status, told = await ship(access, b"a\n\xff", "?from=12&final=true&note=bm90")
    assert status == 200
    assert told == (
        '{"stored_to":3,"final":false,"stop":"","note":"bm90ZQ","again":false,"look_s":10.0}'
    )
    state, trial = access.ours
    run = f"{state.id}.{trial.index}.1"
    first, second = launcher.heard
    assert first.subject == f"trialbus.v1.claim.{state.namespace}.{state.name}.{trial.name}"
    assert Claim.from_bytes(first.data) == Claim(run=run, holder="pod-1")
    assert second.subject == f"trialbus.v1.output.{state.namespace}.{state.name}.{trial.name}"
    assert Output.of(second) == Output(run=run, start=12, data=b"a\n\xff", final=True, note="bm90")


async def test_nobody_else_speaks_for_an_attempt(access: AccessWorld, launcher: Launcher) -> None:
    for role, token in access.tokens.items():
        status, _ = await claim(access, token)
        assert status in (401, 403, 404), role
    own = access.trial_token()
    for attempt, verb in ((2, "claim"), (2, "output")):
        status, told = await access.call(own, "POST", path(access, verb, attempt), content=b"{}")
        assert status == 404, told
    await access.end_our_run()
    assert (await claim(access))[0] == 401, "its attempt has ended, and its token with it"
    assert launcher.heard == []


async def test_a_refused_pod_hears_what_is_wrong_with_its_token(
    access: AccessWorld, launcher: Launcher
) -> None:
    """It is all that its trial will say of why it ran nothing."""
    name, own = access.ours[1].name, access.trial_token()
    _, other = await access.call(own, "POST", path(access, "claim", 2), json={"holder": "pod-1"})
    assert f"the token is good for attempt 1 of {name}, and no other" in other
    _, later = await claim(access, access.trial_token(attempt=2))
    assert f"the token is good for attempt 2 of {name}, which is not there (any more)" in later
    _, forged = await claim(access, access.trial_token(key=b"f" * 64))
    assert "the trial's token is not valid: none of our keys made it" in forged
    await access.end_our_run()
    _, late = await claim(access)
    assert f"the token was good for attempt 1 of {name}, which has ended" in late
    assert launcher.heard == []


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (ClaimReply(held=False, refused="another pod has it"), 409),
        (ClaimReply(held=False, known=False, refused="there is no such attempt"), 404),
    ],
)
async def test_a_refused_claim_says_why(
    access: AccessWorld, launcher: Launcher, reply: ClaimReply, status: int
) -> None:
    launcher.claimed = reply
    found, told = await claim(access)
    assert (found, reply.refused in told) == (status, True)


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"over": True}, 409), ({}, 410), ({"known": False}, 404)],
)
async def test_refused_output_says_whether_the_command_may_go_on(
    access: AccessWorld, launcher: Launcher, changes: dict[str, Any], status: int
) -> None:
    launcher.shipped = OutputReply(stored_to=0, refused="not any more", **changes)
    found, told = await ship(access, b"loss=1\n")
    assert (found, "not any more" in told) == (status, True)


@pytest.mark.parametrize(
    ("data", "query", "status"),
    [
        (b"x" * (128 * 1024), "", 200),
        (b"x" * (128 * 1024 + 1), "", 413),
        (b"", "?from=-1", 400),
        (b"", "?from=9999999999999999", 400),
        (b"a\n", f"?from={MAX_PLACE - 1}", 400),
        (b"", "?note=bm90%0A", 400),
        (b"", "?note=a%0d%0ab", 400),
        (b"", f"?note={'a' * 2049}", 400),
        (b"", "?final=perhaps", 400),
        (b"", "?form=1", 400),
    ],
)
async def test_what_is_shipped_is_bounded(
    access: AccessWorld, launcher: Launcher, data: bytes, query: str, status: int
) -> None:
    assert (await ship(access, data, query))[0] == status


@pytest.mark.parametrize("holder", ["", "a b", "x" * 129, "a\n", None, 7])
async def test_a_holder_is_a_word(access: AccessWorld, launcher: Launcher, holder: object) -> None:
    assert (await claim(access, json={"holder": holder}))[0] == 400
    assert launcher.heard == []


async def test_without_a_launcher_a_pod_is_told_to_come_again(access: AccessWorld) -> None:
    async with asyncio.timeout(10):
        status, _ = await ship(access, b"loss=1\n")
    assert status == 503
