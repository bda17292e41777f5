"""What pods claim and ship: who has an attempt, what is stored of its stream, and when to stop."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from trialbus.contracts.collections import EVIDENCE
from trialbus.contracts.messages import Request
from trialbus.contracts.shipping import MAX_PLACE, ClaimReply, Output, OutputReply
from trialbus.kernel.errors import Poison
from trialbus.kernel.experiment import Experiment, ExperimentPhase, OpenState
from trialbus.kernel.run import RunPhase
from trialbus.kernel.spec import (
    AlgorithmSpec,
    CollectorKind,
    MetricsCollectorSpec,
    MetricsFormat,
    MetricsPath,
    PathKind,
)
from trialbus.testkit.bus_probes import at_once
from trialbus.testkit.shipping_world import KEY, SUBJECT, World, frames_of, run
from trialbus.testkit.still_world import UID, deleted, experiment
from trialbus.testkit.waits import until
from trialbus_trial_launcher.app.hand import Hand
from trialbus_trial_launcher.app.recording import Recording
from trialbus_trial_launcher.core import shipped_notes
from trialbus_trial_launcher.core.shipped_notes import Note


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with made.stack:
        yield made


# Claims -----------------------------------------------------------------------------------------


async def test_the_first_holder_has_the_attempt_and_has_it_again(world: World) -> None:
    await world.begin()
    one = world.replica()
    assert await one.claim("pod-1") == [ClaimReply(held=True)]
    assert world.run == run(version=2, holder="pod-1")
    await one.ship(b"loss=1\n")
    again, other = await world.replica("another").claim("pod-1", "pod-2")
    assert again == ClaimReply(held=True, stored_to=7), "its stream goes on there"
    assert other == ClaimReply(held=False, refused="another pod has this attempt: pod-1")
    assert world.run.version == 2, "a repeat commits nothing"


async def test_of_two_that_claim_at_once_one_has_it(world: World) -> None:
    await world.begin()
    together = await world.replica().claim("pod-1", "pod-2", "pod-1")
    assert [it.held for it in together] == [True, False, True]
    later = World()
    async with later.stack:
        await later.begin()
        replicas = [later.replica(f"launcher-{n}") for n in range(4)]
        found = await asyncio.gather(*(it.claim(f"pod-{n}") for n, it in enumerate(replicas)))
        held = [n for n, [reply] in enumerate(found) if reply.held]
        assert len(held) == 1
        assert later.run.holder == f"pod-{held[0]}"


@pytest.mark.parametrize(
    ("state", "changed", "why"),
    [
        (
            experiment(2),
            {},
            "attempt 1 of tune-a is superseded: attempt 2 has taken its place",
        ),
        (
            experiment(2),
            {"phase": RunPhase.LOST, "message": "its node is gone"},
            "attempt 1 of tune-a has ended, attempt 2 has taken its place: its node is gone",
        ),
        (experiment(), {}, "the trial tune-a has ended already"),
        (deleted(experiment(1)), {}, "the experiment tune is deleted"),
        (experiment(1), {"phase": RunPhase.FINISHED}, "attempt 1 of tune-a has ended"),
        (
            experiment(1),
            {"phase": RunPhase.LOST, "message": "its node is gone"},
            "attempt 1 of tune-a has ended: its node is gone",
        ),
    ],
)
async def test_an_attempt_that_is_over_is_neither_claimed_nor_heard(
    world: World, state: Experiment, changed: dict[str, object], why: str
) -> None:
    await world.begin(state)
    if changed:
        await world.change(run(**changed))
    assert await world.replica().claim("pod-1") == [ClaimReply(held=False, refused=why)]
    reply = await world.replica().ship(b"loss=1\n", note="x!")
    assert (reply.refused, reply.over) == (why, True)
    assert world.run.holder == ""
    assert world.values() == []


async def test_a_suspended_or_stopped_trial_is_not_begun(world: World) -> None:
    await world.begin()
    state = experiment(1)
    await world.put(replace(state, open={"0": replace(state.open["0"], stop="GoalReached")}))
    [reply] = await world.replica().claim("pod-1")
    assert (reply.held, reply.refused) == (False, "tune-a is to be stopped: GoalReached")
    paused = {"0": replace(state.open["0"], state=OpenState.PAUSED)}
    await world.put(replace(state, open=paused, phase=ExperimentPhase.SUSPENDED))
    [reply] = await world.replica().claim("pod-1")
    assert (reply.held, reply.refused) == (False, "the experiment tune is suspended")


async def test_what_was_never_begun_is_not_known(world: World) -> None:
    await world.begin()
    [reply] = await world.replica().claim("pod-1", run=f"{UID}.0.7")
    assert (reply.held, reply.known) == (False, False)
    shipped = await world.replica().ship(b"loss=1\n", run=f"{UID}.0.7")
    assert (shipped.known, shipped.refused) == (False, "there is no such attempt")
    [unread] = await world.replica().claiming.respond([Request(subject="claim", data=b"{}")])
    assert not ClaimReply.from_bytes(unread).held


async def test_an_end_is_recorded_over_a_claim_that_came_meanwhile(world: World) -> None:
    await world.begin()
    parts = world.parts()
    recording = Recording(parts, Hand(parts, "cluster"))
    before, after = run(), run(version=2, phase=RunPhase.FINISHED, exit_code=0)
    await world.replica().claim("pod-1")
    recording.add(before, after)
    task = asyncio.ensure_future(recording.run())
    await until(lambda: world.run.ended, "its end is recorded")
    task.cancel()
    assert world.run == replace(after, version=3, holder="pod-1")


# Output -----------------------------------------------------------------------------------------


async def test_lines_without_metrics_cost_no_commit_and_what_follows_is_stored(
    world: World,
) -> None:
    await world.begin()
    reply = await world.replica().ship(b"hello\nworld\n")
    assert (reply.stored_to, world.chunks) == (12, [])
    reply = await world.replica("another").ship(b"loss=0.5\nrest\n", 12, note=reply.note)
    assert (reply.stored_to, reply.final, reply.stop) == (26, False, "")
    assert [(it.from_byte, it.to_byte) for it in world.chunks] == [(0, 26)]
    reply = await world.replica().ship(b"loss=0.25", 26, final=True, note=reply.note)
    assert (reply.stored_to, reply.final) == (35, True)
    assert world.values() == [0.5, 0.25]
    assert world.chunks[-1].final_run == KEY


async def test_a_lost_answer_doubles_nothing_however_the_repeat_is_cut(
    world: World,
) -> None:
    await world.begin()
    one = world.replica()
    await one.ship(b"loss=1\n")
    reply = await one.ship(b"loss=1\nloss=2\n")
    assert reply.stored_to == 14
    late = await one.ship(b"loss=1\n")
    assert late.stored_to == 14, "an older piece comes after a newer: the sender is told"
    assert world.values() == [1.0, 2.0]
    final = await one.ship(b"", 14, final=True, note=reply.note)
    again = await one.ship(b"", 14, final=True, note=reply.note)
    assert final.final and again.final
    assert again.stored_to == 14


async def test_a_line_that_is_not_whole_is_asked_for_again(world: World) -> None:
    await world.begin()
    reply = await world.replica().ship(b"loss=1\nloss=")
    assert reply.stored_to == 7
    assert (await world.replica().ship(b"loss=2\n", 7, note=reply.note)).stored_to == 14
    assert world.values() == [1.0, 2.0]


async def test_many_points_of_one_piece_become_several_chunks(world: World) -> None:
    await world.begin()
    data = b"".join(b"loss=%d\n" % n for n in range(2500))
    assert (await world.replica().ship(data, final=True)).final
    assert world.values() == [float(n) for n in range(2500)]
    assert [it.final for it in world.chunks] == [False, False, True]


async def test_nothing_is_answered_while_the_collector_is_away(world: World) -> None:
    await world.begin()
    await world.stack.aclose()
    output = Output(run=KEY, start=0, data=b"loss=1\n")
    assert await world.replica().receiving.respond([output.request(SUBJECT)]) == [None]
    silent = Output(run=KEY, start=0, data=b"hello\n")
    [answer] = await world.replica().receiving.respond([silent.request(SUBJECT)])
    assert OutputReply.from_bytes(at_once(answer)).stored_to == 6
    await world.collect()
    assert (await world.replica().ship(b"loss=1\n")).stored_to == 7
    assert world.values() == [1.0]


@pytest.mark.parametrize("seed", range(8))
async def test_random_cuts_repeats_and_replicas_store_every_point_once_in_order(
    world: World, seed: int
) -> None:
    chance = random.Random(seed)
    await world.begin()
    lines = [
        b"loss=%d\n" % n if chance.random() < 0.4 else b"x" * chance.randrange(40) + b"\n"
        for n in range(300)
    ]
    stream, sent, note = b"".join(lines), 0, ""
    while True:
        end = min(len(stream), sent + chance.randrange(1, 400))
        end = stream.rfind(b"\n", 0, end) + 1 if end < len(stream) else end
        final = end == len(stream)
        for _ in range(chance.choice((1, 1, 2))):
            # The answer of the first of two is lost.
            replica = world.replica(f"launcher-{chance.randrange(3)}")
            reply = await replica.ship(stream[sent:end], sent, final=final, note=note)
        if end > sent:
            assert reply.stored_to == end
        sent, note = max(sent, reply.stored_to), reply.note
        if final:
            break
    assert reply.final
    expected = [float(line[5:]) for line in lines if line.startswith(b"loss=")]
    assert world.values() == expected
    assert world.chunks[-1].to_byte == len(stream)


@pytest.mark.parametrize(
    "collect",
    [
        MetricsCollectorSpec(kind=CollectorKind.STDOUT, filters=(r"{(\w+): (\d+)}",)),
        MetricsCollectorSpec(
            kind=CollectorKind.FILE,
            filters=(r"{(\w+): (\d+)}",),
            path=MetricsPath(path="/m.log", kind=PathKind.FILE),
        ),
    ],
)
async def test_filters_say_what_a_metric_looks_like(
    world: World, collect: MetricsCollectorSpec
) -> None:
    await world.begin(collect=collect)
    await world.replica().ship(b"{loss: 3}\nloss=4\n", final=True)
    assert world.values() == [3.0]


async def test_a_file_of_json_is_read_as_beside_local_runs(world: World) -> None:
    path = MetricsPath(path="/m.json", kind=PathKind.FILE, format=MetricsFormat.JSON)
    await world.begin(collect=MetricsCollectorSpec(kind=CollectorKind.FILE, path=path))
    reply = await world.replica().ship(b'{"loss": "0.5", "timestamp": 7}\nloss=1\n', final=True)
    assert reply.final
    [chunk] = world.chunks
    assert chunk.series[0].times == (7.0,)
    assert world.values() == [0.5]


@pytest.mark.parametrize("kind", [CollectorKind.PUSH, CollectorKind.CUSTOM])
async def test_of_other_kinds_nothing_is_read(world: World, kind: CollectorKind) -> None:
    await world.begin(collect=MetricsCollectorSpec(kind=kind))
    assert (await world.replica().ship(b"loss=1\n")).stored_to == 7
    assert world.chunks == []


# Stops ------------------------------------------------------------------------------------------


async def test_a_stop_of_the_experiment_is_told_and_the_piece_is_stored(
    world: World,
) -> None:
    await world.begin()
    state = experiment(1)
    await world.put(replace(state, open={"0": replace(state.open["0"], stop="GoalReached")}))
    reply = await world.replica().ship(b"loss=1\n")
    assert (reply.stop, reply.stored_to, reply.look_s) == ("GoalReached", 7, 10.0)
    assert world.values() == [1.0]


async def test_a_verdict_is_told_to_whoever_asks_often(world: World) -> None:
    await world.begin(experiment(1, rule=AlgorithmSpec(name="medianstop")))
    quiet = await world.replica().ship(b"")
    assert (quiet.stop, quiet.look_s) == ("", 0.5)
    verdict = {"_id": KEY, "version": 1, "uid": UID, "verdict": {"stop": True, "reason": "worse"}}
    await world.insert(EVIDENCE.name, verdict)
    assert (await world.replica().ship(b"")).stop == "EarlyStopped"


# Event records ----------------------------------------------------------------------------------

EVENTS = MetricsCollectorSpec(
    kind=CollectorKind.TENSORFLOW_EVENT,
    path=MetricsPath(path="/logs", kind=PathKind.DIRECTORY),
)


async def test_event_records_of_several_files_become_points(world: World, tmp_path: Path) -> None:
    await world.begin(collect=EVENTS, additional=["test/acc"])
    train = frames_of(tmp_path, "train/events.tfevents.1", ("loss", 0.5), ("acc", 9.0))
    test = frames_of(tmp_path, "test/events.tfevents.2", ("acc", 0.25), ("loss", 0.125))
    cut = len(train) - 40
    reply = await world.replica().ship(train[:cut])
    assert reply.stored_to < cut, "the last frame is not whole"
    rest = (train + test)[reply.stored_to :]
    reply = await world.replica().ship(rest, reply.stored_to, note=reply.note, final=True)
    assert (reply.stored_to, reply.final, reply.again) == (len(train + test), True, False)
    assert world.values() == [0.5, 0.125]
    assert world.values("test/acc") == [0.25]


async def test_longer_tags_count_only_where_there_is_no_other(world: World, tmp_path: Path) -> None:
    await world.begin(collect=EVENTS, additional=["acc"])
    scalars = [("loss_12", 7.0), ("loss_1", 0.5), ("acc_1", 8.0), ("acc", 0.25), ("loss_1", 0.125)]
    first = frames_of(tmp_path, "a.tfevents", *scalars)
    half = first.index(b"tfevent 1 ", len(first) // 2)
    one = await world.replica().ship(first[:half])
    two = await world.replica().ship(first[half:], half, note=one.note)
    asked = await world.replica().ship(b"", len(first), note=two.note, final=True)
    assert (asked.final, asked.again, world.values()) == (False, True, [])
    second = first.replace(b"tfevent 1", b"tfevent 2")
    reply = await world.replica().ship(second, len(first), note=asked.note, final=True)
    assert (reply.final, reply.again) == (True, False)
    assert world.values() == [0.5, 0.125]
    assert world.values("acc") == [0.25]


async def test_what_is_no_frame_is_refused_and_the_command_may_go_on(world: World) -> None:
    await world.begin(collect=EVENTS)
    reply = await world.replica().ship(b"loss=1\n")
    assert (reply.refused, reply.over) == ("these are no frames of event records", False)


# Notes ------------------------------------------------------------------------------------------


def test_a_note_comes_back_as_it_was() -> None:
    note = Note(since=7, exact=frozenset({1}), longer={0: "loss_1", 2: "größe"}, again=True)
    assert shipped_notes.read(shipped_notes.written(note, 2048)) == note
    assert shipped_notes.read("") == Note()


def test_a_note_that_is_too_long_forgets_the_last_metrics_first() -> None:
    note = Note(longer=dict.fromkeys(range(20), "t" * 250))
    text = shipped_notes.written(note, 2048)
    assert len(text) <= 2048
    kept = shipped_notes.read(text)
    assert kept is not None
    assert sorted(kept.longer) == list(range(5))


@pytest.mark.parametrize(
    "text", ["x", "!", "bm90IEpTT04", "W10", "eyJzaW5jZSI6IC0xfQ", "eyJleGFjdCI6IFsiYSJdfQ"]
)
async def test_a_note_of_somebody_else_is_refused(world: World, text: str) -> None:
    await world.begin()
    reply = await world.replica().ship(b"loss=1\n", note=text)
    assert (reply.refused, reply.over, world.values()) == ("the note is none of ours", False, [])


@pytest.mark.parametrize(("start", "data"), [("-1", b""), ("x", b""), (str(MAX_PLACE), b"x")])
def test_a_piece_without_a_place_in_its_stream_is_poison(start: str, data: bytes) -> None:
    output = Output(run="r.0.1", start=0, data=data)
    request = output.request("trialbus.v1.output.n.e.t")
    headers = {**request.headers, "trialbus-from": start}
    with pytest.raises(Poison):
        Output.of(Request(subject=request.subject, data=data, headers=headers))
