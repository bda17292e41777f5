"""The documents that the examples of the HTTP API speak of: `lab/tune` with a few trials."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from trialbus.contracts import subjects
from trialbus.contracts.collections import ANSWERS, CHUNKS, EXPERIMENTS, RUNS, TRIALS
from trialbus.contracts.documents import ANSWER, CHUNK, EXPERIMENT, RUN, TRIAL, Document
from trialbus.contracts.messages import Request
from trialbus.contracts.shipping import Claim, ClaimReply, Output, OutputReply
from trialbus.contracts.work import WorkVerb
from trialbus.kernel.chunks import Chunk, MetricSummary, Series
from trialbus.kernel.experiment import BestTrial, Counts, Experiment, ExperimentPhase
from trialbus.kernel.ids import answer_id, chunk_id, run_id
from trialbus.kernel.measurements import Summary
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.suggestion import Answer, LookAhead, Mark, PointsRequest
from trialbus.kernel.trial import MetricValues, Trial, TrialPhase
from trialbus.testkit.gateway_documents import UID, condition, experiment, opened, run, trial
from trialbus.testkit.gateway_world import World, gateway_world, katib
from trialbus.testkit.work_desk import WorkDesk

POINTS = 1200
_RUNNING = run_id(UID, 2, 1)


@asynccontextmanager
async def example_world(folder: Path) -> AsyncIterator[World]:
    """A gateway with these documents; words of workers are answered."""
    desk = WorkDesk("lab/tune")

    async def respond(requests: Sequence[Request]) -> Sequence[bytes | None]:
        """Other commands are for the experiment service."""
        words = [it.subject.rpartition(".")[2] in list(WorkVerb) for it in requests]
        answers = iter(await desk.respond([it for it, is_word in zip(requests, words, strict=True)
                                           if is_word]))  # fmt: skip
        return [next(answers) if is_word else None for is_word in words]

    async with gateway_world(folder) as world:
        for collection, documents in documents_by_collection().items():
            await world.put(*documents, into=collection)
        serve = world.bus.client("launcher").serve
        async with (
            serve(subjects.commands(), "launcher", respond, max_group=64),
            serve(subjects.claims(), "launcher", _claimed, max_group=64),
            serve(subjects.outputs(), "launcher", _shipped, max_group=64),
        ):
            yield world


async def _claimed(requests: Sequence[Request]) -> list[bytes]:
    """The attempt that runs is free, whoever asks."""
    claims = [Claim.from_bytes(it.data) for it in requests]
    return [ClaimReply(**_known(it.run), held=it.run == _RUNNING).to_bytes() for it in claims]


async def _shipped(requests: Sequence[Request]) -> list[bytes]:
    outputs = [Output.of(it) for it in requests]
    return [
        OutputReply(**_known(it.run), stored_to=it.start + len(it.data), final=it.final).to_bytes()
        for it in outputs
    ]


def _known(run_: str) -> dict[str, Any]:
    return {} if run_ == _RUNNING else {"known": False, "refused": "there is no such attempt"}


def documents_by_collection() -> dict[str, list[Document]]:
    trials = [_succeeded(), _failed(), trial(2, assignments=trial().assignments)]
    return {
        EXPERIMENTS.name: [EXPERIMENT.encode(it) for it in (_experiment(), _archived())],
        TRIALS.name: [TRIAL.encode(it) for it in trials],
        RUNS.name: [RUN.encode(it) for it in (_ended_run(0), _ended_run(1), run(2))],
        CHUNKS.name: [CHUNK.encode(_chunk())],
        ANSWERS.name: [ANSWER.encode(it) for it in (_answer(1, 0), _answer(2, 3))],
    }


def _experiment() -> Experiment:
    best = _succeeded()
    return experiment(
        version=1,
        source=katib(),
        open={"2": opened()},
        next_index=3,
        finished=2,
        counts=Counts(succeeded=1, failed=1),
        best=BestTrial(
            index=0,
            name=best.name,
            value=0.8,
            assignments=best.assignments,
            observation=best.observation,
        ),
        next_request=3,
        drawn=5,
        look_ahead=LookAhead.FREE,
        requests=(PointsRequest(number=2, first=3, count=2, watermark=0, asked_at=150.0, got=2),),
    )


def _archived() -> Experiment:
    return replace(
        _experiment(),
        id="1c8d3f1f-8a52-5c0f-9c50-222222222222",
        name="gone",
        alive_name=None,
        phase=ExperimentPhase.ARCHIVED,
        completed_at=900.0,
        open={},
        active=False,
    )


def _succeeded() -> Trial:
    return trial(
        0,
        phase=TrialPhase.SUCCEEDED,
        value=0.8,
        finished=1,
        started_at=301.0,
        completed_at=310.0,
        reason="TrialSucceeded",
        message="Trial has succeeded",
        observation=(
            MetricValues(name="accuracy", min=0.1, max=0.8, latest=0.75),
            MetricValues(name="loss", min=math.nan, max=math.nan, latest=math.nan),
        ),
        conditions=(condition("Succeeded", "TrialSucceeded", 310.0),),
        labels=(("trialbus.io/rung", "1"),),
    )


def _failed() -> Trial:
    return trial(
        1,
        phase=TrialPhase.FAILED,
        finished=2,
        started_at=301.0,
        completed_at=305.0,
        reason="TrialFailed",
        message="exit code 3",
        exit_code=3,
        conditions=(condition("Failed", "TrialFailed", 305.0),),
    )


def _ended_run(index: int) -> Run:
    return run(
        index,
        phase=RunPhase.FINISHED,
        finished_at=305.0,
        exit_code=3 * index,
        log_tail="epoch 1\nepoch 2\n",
    )


def _chunk() -> Chunk:
    key = run_id(UID, 0, 1)
    values = tuple(math.sin(step / 50) if step % 400 else math.nan for step in range(POINTS))
    times = tuple(301.0 + step / 200 for step in range(POINTS))
    summary = Summary(
        count=POINTS, min=-1.0, max=1.0, latest=values[-1], first_at=301.0, latest_at=times[-1]
    )
    return Chunk(
        id=chunk_id(key, 0),
        uid=UID,
        run=key,
        version=1,
        from_byte=0,
        to_byte=9999,
        series=(Series(metric="accuracy", first_step=1, values=values, times=times),),
        summaries=(MetricSummary(metric="accuracy", summary=summary),),
        final=True,
        final_run=key,
        stored_at=310.0,
    )


def _answer(number: int, first: int) -> Answer:
    points = (("0.5",), ("0.25",), ("0.75",)) if number == 1 else (("0.1",), ("0.2",))
    return Answer(
        id=answer_id(UID, number),
        uid=UID,
        version=1,
        number=number,
        first=first,
        watermark=0,
        seed=7,
        points=points,
        exhausted=False,
        look_ahead=LookAhead.FREE,
        refused=None,
        answered_at=150.0,
        took_s=0.01,
        marks=tuple(Mark(labels=(("trialbus.io/rung", "0"),)) for _ in points),
    )
