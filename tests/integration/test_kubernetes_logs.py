"""`kubectl logs` against a gateway over a bus and a store in memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.collections import CHUNKS, EXPERIMENTS, RUNS
from trialbus.contracts.documents import CHUNK, EXPERIMENT, RUN, Document
from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.ids import chunk_id, collector_run_id, run_id
from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec
from trialbus.ports.bus import Request
from trialbus.testkit.gateway_world import World, gateway_world, run_of, running_trial

TEXT = "2026-01-02T03:04:05Z one\n2026-01-02T03:04:07.5Z two\nthree\n"
# When the run ended, so the time of what has none.
ENDED_AT = 1_767_323_050.0
STAMP = "2026-01-02T03:04:10.000000Z"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as made:
        yield made


@pytest.fixture
async def path(world: World) -> AsyncIterator[str]:
    """Of the log of a trial whose second attempt has ended, while its launcher answers."""
    state, trial = await running_trial(
        world, attempt=2, phase=RunPhase.FINISHED, exit_code=0, finished_at=ENDED_AT
    )
    first = run_of(state, 0, 1, phase=RunPhase.LOST, finished_at=ENDED_AT)
    await world.put(RUN.encode(first), into=RUNS.name)
    outputs = {
        run_id(state.id, 0, 1): "of the first\n",
        run_id(state.id, 0, 2): TEXT,
        collector_run_id(run_id(state.id, 0, 2)): "7 rows reported\n",
    }

    async def respond(requests: Sequence[Request]) -> Sequence[bytes]:
        asked = [LogRequest.from_bytes(request.data) for request in requests]
        return [_reply(outputs[it.run], it).to_bytes() for it in asked]

    launcher = world.bus.client("launcher")
    async with launcher.serve(subjects.log("box.lan"), "log", respond, max_group=8):
        yield f"/api/v1/namespaces/lab/pods/{trial.name}/log"


def _reply(text: str, asked: LogRequest) -> LogReply:
    start = max(asked.from_byte, 0)
    piece = text[start : start + 7]
    after = start + len(piece)
    return LogReply(text=piece, next_byte=after, ended=after == len(text))


STAMPED = (
    "2026-01-02T03:04:05.000000Z 2026-01-02T03:04:05Z one\n"
    "2026-01-02T03:04:07.500000Z 2026-01-02T03:04:07.5Z two\n"
    f"{STAMP} three\n"
)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", TEXT),
        ("container=training-container", TEXT),
        ("container=metrics-logger-and-collector", TEXT),
        ("follow=True", TEXT),
        ("tailLines=1", "three\n"),
        ("tailLines=0", ""),
        ("previous=true", "of the first\n"),
        ("limitBytes=30", TEXT[:30]),
        ("limitBytes=0", ""),
        ("timestamps=true", STAMPED),
        ("timestamps=true&limitBytes=3", "202"),
        ("sinceTime=2026-01-02T03:04:06Z", TEXT.partition("\n")[2]),
        ("sinceTime=2026-01-02T03:04:09Z", "three\n"),
        ("sinceTime=2026-01-02T03:04:11Z", ""),
        ("sinceSeconds=1", ""),
        ("sinceSeconds=999999999", TEXT),
    ],
)
async def test_what_of_a_log_is_shown(world: World, path: str, query: str, shown: str) -> None:
    answer = await world.client.get(f"{path}?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.text == shown


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("container=other", "container other is not valid for pod"),
        ("sinceTime=yesterday", "not a time"),
        ("sinceTime=2026-01-02T03:04:06Z&sinceSeconds=1", "only one of"),
        ("tailLines=-1", "tailLines"),
        ("limitBytes=x", "limitBytes"),
        ("follow=perhaps", "follow"),
    ],
)
async def test_what_cannot_be_shown_is_a_bad_request(
    world: World, path: str, query: str, said: str
) -> None:
    refused = await world.get(f"{path}?{query}", 400)
    assert refused["reason"] == "BadRequest"
    assert said in refused["message"]


@pytest.mark.parametrize(
    ("container", "shown"), [("scraper", "7 rows reported\n"), ("training-container", TEXT)]
)
async def test_a_custom_collector_has_an_output_of_its_own(
    world: World, path: str, container: str, shown: str
) -> None:
    [document] = world.store.documents(EXPERIMENTS.name)
    state = EXPERIMENT.decode(document)
    custom = MetricsCollectorSpec(kind=CollectorKind.CUSTOM, container={"name": "scraper"})
    await world.change(state, spec=replace(state.spec, metrics_collector=custom))
    answer = await world.client.get(f"{path}?container={container}&tailLines=9")
    assert (answer.status_code, answer.text) == (200, shown)


async def test_lines_have_the_times_of_the_metrics_around_them(world: World, path: str) -> None:
    [run] = [it for it in world.store.documents(RUNS.name) if it["attempt"] == 2]
    # Bytes of TEXT: two lines of 25 and 27, then `three`; a pushed point lies between the first
    # two stretches, so the second chunk ends at byte 52 of the output.
    chunks = [
        chunk_of(run["_id"], 0, 25, stored_at=ENDED_AT - 4),
        chunk_of(run["_id"], 25, 53, stored_at=ENDED_AT - 3, pushed=1),
        chunk_of(run["_id"], 53, 59, stored_at=ENDED_AT - 1, pushed=1),
    ]
    await world.put(*chunks, into=CHUNKS.name)
    for query in ("timestamps=true", "timestamps=true&tailLines=1"):
        answer = await world.client.get(f"{path}?{query}")
        assert answer.text.splitlines()[-1] == "2026-01-02T03:04:09.000000Z three"
    for at, shown in ((8, "three\n"), (10, "")):
        answer = await world.client.get(f"{path}?sinceTime=2026-01-02T03:04:{at:02}Z")
        assert answer.text == shown


def chunk_of(run: str, first: int, last: int, *, stored_at: float, pushed: int = 0) -> Document:
    chunk = Chunk(
        id=chunk_id(run, first),
        uid=run.partition(".")[0],
        run=run,
        version=1,
        from_byte=first,
        to_byte=last,
        series=(),
        summaries=(),
        final=False,
        final_run=None,
        stored_at=stored_at,
        pushed=pushed,
    )
    return CHUNK.encode(chunk)


async def test_a_first_attempt_has_none_before_it(world: World) -> None:
    _, trial = await running_trial(world)
    refused = await world.get(f"/api/v1/namespaces/lab/pods/{trial.name}/log?previous=true", 400)
    assert "previous terminated container" in refused["message"]


async def test_a_pod_that_is_not_there_has_no_log(world: World) -> None:
    for name in ("absent", "No_Name"):
        missing = await world.get(f"/api/v1/namespaces/lab/pods/{name}/log", 404)
        assert missing["message"] == f'pods "{name}" not found'


async def test_a_log_that_nobody_can_tell_of_now_is_unavailable(world: World) -> None:
    _, trial = await running_trial(world)
    answer = await world.get(f"/api/v1/namespaces/lab/pods/{trial.name}/log", 503)
    assert answer["reason"] == "ServiceUnavailable"
