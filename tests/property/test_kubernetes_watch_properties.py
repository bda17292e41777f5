"""Whoever lists and watches ends with what a list would give, however often it was cut off."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from trialbus.contracts.collections import RUNS, TRIALS
from trialbus.contracts.documents import RUN, TRIAL
from trialbus.kernel.experiment import ClosingTrial, Experiment
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.store import Query, Write
from trialbus.testkit.gateway_world import (
    World,
    gateway_world,
    open_trial,
    run_of,
    trial_of,
)
from trialbus.testkit.virtual_time import run_virtual
from trialbus_gateway.adapters.kubernetes.list_options import options_of, scope_of
from trialbus_gateway.adapters.kubernetes.tables import form_of
from trialbus_gateway.adapters.kubernetes.watching import Watching
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.changes_listing import ChangesListing
from trialbus_gateway.core.change_log import Kind

NAMES = ("a", "b")
SELECTORS = ("", "team=red", "team!=red")
# What a look sees in the midst of is there more often.
STEPS = (
    *("apply", "label", "run", "delete", "purge", "cut", "drop"),
    *("open", "close", "write", "drain") * 3,
)
LATE = [("close", "a", True), ("drain", "a", False), ("write", "a", True)]
# Neither open nor ended when the index begins, and relabelled before anybody looked at it.
UNSEEN = [("close", "b", False), ("drain", "a", False), ("label", "b", False)]
# Opened and counted between two looks.
BRIEF = [("close", "a", False), ("drain", "a", False), ("open", "a", False), ("close", "a", False)]

Objects = dict[str, dict[str, Any]]


@dataclass(slots=True)
class Client:
    """Keeps what it was told, as informers do; cut off, it goes on from the last version."""

    changes: Changes
    store: Any
    kind: Kind
    selector: str
    objects: Objects = field(default_factory=dict)
    version: str | None = None
    lines: AsyncGenerator[bytes, None] | None = None
    pending: asyncio.Task[bytes] | None = None

    def request(self, **query: str) -> Request:
        text = "&".join(f"{name}={value}" for name, value in query.items())
        if self.selector:
            text += f"&labelSelector={self.selector.replace('=', '%3D', 1)}"
        return Request(
            {
                "type": "http",
                "headers": [],
                "query_string": text.encode(),
                "path_params": {"namespace": "lab"},
            }
        )

    async def listed(self) -> tuple[Objects, str]:
        request = self.request()
        listing = ChangesListing(self.changes, self.store)
        page = await listing.page(self.kind, scope_of(request), limit=None)
        return {it["metadata"]["uid"]: it for it in page.items}, page.version

    async def begin(self) -> None:
        if self.version is None:
            self.objects, self.version = await self.listed()
        request = self.request(
            watch="true", resourceVersion=self.version, allowWatchBookmarks="true"
        )
        watching = Watching(self.changes, ChangesListing(self.changes, self.store))
        answer = await watching.answer(
            self.kind, form_of(request), scope_of(request), options_of(request)
        )
        lines: Any = answer.body_iterator  # type: ignore[attr-defined]
        self.lines = lines

    async def drain(self) -> None:
        """Take all that is told until nothing is for a while."""
        while True:
            if self.lines is None:
                await self.begin()
            assert self.lines is not None
            self.pending = self.pending or asyncio.create_task(_next(self.lines))
            done, _ = await asyncio.wait([self.pending], timeout=2.0)
            if not done:
                return
            line, self.pending = self.pending.result(), None
            self.take(json.loads(line))
            if self.version is None:
                await self.cut()

    def take(self, event: Mapping[str, Any]) -> None:
        found = event["object"]
        if event["type"] == "ERROR":
            assert found["code"] == 410, found
            self.version = None
            return
        before, self.version = self.version, found["metadata"]["resourceVersion"]
        assert before is not None and int(self.version or 0) > int(before) - 2**16
        uid = found["metadata"].get("uid")
        match event["type"]:
            case "ADDED":
                self.objects[uid] = found
            case "MODIFIED":
                assert uid in self.objects
                self.objects[uid] = found
            case "DELETED":
                self.objects.pop(uid, None)

    async def cut(self) -> None:
        if self.pending is not None:
            self.pending.cancel()
            await asyncio.gather(self.pending, return_exceptions=True)
        if self.lines is not None:
            async with aclosing(self.lines):
                self.lines, self.pending = None, None


async def _next(lines: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(lines)


class Lab:
    """Experiments with trials that begin, run, end and go. told: whether hints of it come."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._states: dict[str, Experiment] = {}
        self._gone: list[Experiment] = []

    async def step(self, what: str, name: str, *, told: bool) -> None:
        state = self._states.get(name)
        if what == "apply" and state is None:
            state = self._states[name] = await self._world.apply(name)
        elif state is None:
            return
        match what:
            case "label":
                await self._label(state)
            case "open":
                await self._open(state)
            case "run":
                await self._run(state)
            case "close":
                await self._close(state)
            case "write":
                await self._write(state)
            case "delete":
                self._gone.append(await self._world.change(self._states.pop(name), alive_name=None))
            case "purge":
                await self._purge()
        if told:
            await self._world.tell(state)

    async def tell_all(self) -> None:
        for state in (*self._states.values(), *self._gone):
            await self._world.tell(state)

    async def _change(self, state: Experiment, **changes: Any) -> None:
        self._states[state.name] = await self._world.change(state, **changes)

    async def _label(self, state: Experiment) -> None:
        metadata = state.source["metadata"]
        red = metadata.get("labels", {}).get("team") == "red"
        labels = {"team": "blue" if red else "red"}
        await self._change(
            state, source={**state.source, "metadata": {**metadata, "labels": labels}}
        )

    async def _open(self, state: Experiment) -> None:
        index = state.next_index
        await self._change(
            state, next_index=index + 1, open={**state.open, str(index): open_trial()}
        )
        await self._world.put(TRIAL.encode(trial_of(state, index)), into=TRIALS.name)

    async def _run(self, state: Experiment) -> None:
        for key in state.open:
            run = RUN.encode(run_of(state, int(key)))
            await self._world.store.client("tests").commit(
                RUNS.name, [Write(base=None, document=run)]
            )

    async def _close(self, state: Experiment) -> None:
        """Counted, but its document does not say so yet."""
        if not state.open:
            return
        key = min(state.open, key=int)
        finished = state.finished + 1
        closing = ClosingTrial(
            attempt=1,
            request=1,
            phase=TrialPhase.SUCCEEDED,
            finished=finished,
            reason="TrialSucceeded",
            message="Trial has succeeded",
            closed_at=9.0,
        )
        await self._change(
            state,
            open={other: it for other, it in state.open.items() if other != key},
            closing={**state.closing, key: closing},
            finished=finished,
            counts=replace(state.counts, succeeded=state.counts.succeeded + 1),
        )

    async def _write(self, state: Experiment) -> None:
        """The newest end comes first, as if another replica wrote the others."""
        if not state.closing:
            return
        key = max(state.closing, key=int)
        before = trial_of(state, int(key))
        after = replace(
            before,
            version=2,
            phase=TrialPhase.SUCCEEDED,
            finished=state.closing[key].finished,
            completed_at=9.0,
        )
        write = Write(base=TRIAL.encode(before), document=TRIAL.encode(after))
        await self._world.store.client("tests").commit(TRIALS.name, [write])
        rest = {other: it for other, it in state.closing.items() if other != key}
        await self._change(state, closing=rest)

    async def _purge(self) -> None:
        for state in self._gone:
            store = self._world.store.client("tests")
            await store.delete(TRIALS.name, Query(equals={"uid": state.id}))


async def play(
    kind: Kind, selector: str, capacity: int, steps: list[tuple[str, str, bool]]
) -> tuple[Objects, Objects]:
    """What the client has at the end, and what a list gives."""
    with TemporaryDirectory() as folder:
        async with gateway_world(Path(folder)) as world:
            changes = Changes(world.parts, capacity=capacity)
            lab = Lab(world)
            client = Client(changes, world.gateway_store, kind, selector)
            for name in NAMES:
                await lab.step("apply", name, told=True)
                await lab.step("open", name, told=True)
            for what, name, told in steps:
                match what:
                    case "cut":
                        await client.cut()
                    case "drain":
                        await client.drain()
                    case "drop":
                        (await changes.index()).end()
                    case _:
                        await lab.step(what, name, told=told)
            await lab.tell_all()
            await client.drain()
            listed, _ = await client.listed()
            await client.cut()
            await changes.close()
            return client.objects, listed


@settings(max_examples=100)
@example(kind=Kind.TRIALS, selector="", capacity=1000, steps=LATE)
@example(kind=Kind.EXPERIMENTS, selector="", capacity=1000, steps=LATE)
@example(kind=Kind.TRIALS, selector="", capacity=1000, steps=BRIEF)
@example(kind=Kind.TRIALS, selector="team=red", capacity=1000, steps=UNSEEN)
@example(
    kind=Kind.TRIALS, selector="team=red", capacity=1000, steps=[*UNSEEN, ("write", "b", True)]
)
@given(
    kind=st.sampled_from(Kind),
    selector=st.sampled_from(SELECTORS),
    capacity=st.sampled_from([2, 1000]),
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.sampled_from(NAMES), st.booleans()),
        min_size=5,
        max_size=40,
    ),
)
def test_a_client_ends_with_what_a_list_gives(
    kind: Kind, selector: str, capacity: int, steps: list[tuple[str, str, bool]]
) -> None:
    kept, listed = run_virtual(play(kind, selector, capacity, steps), limit_s=3600.0)
    assert kept == listed
