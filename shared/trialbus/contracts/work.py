"""What workers say and hear: ask for trials, report, heartbeat, tell, release.

Subject `trialbus.v1.cmd.<namespace>.<experiment>.<verb>`; the answer is a `WorkReply`, sent after
the commit. A trial is a worker's own while its lease lasts, which every word about it renews. Then
it is given out again under the next attempt, and words of the older one are refused.

Names of fields are what travels as JSON: over NATS, HTTP and gRPC the same.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from trialbus.contracts.envelope import Body, FieldProblem
from trialbus.kernel import limits
from trialbus.kernel.errors import Problem

# Of a worker, an ask or a report: chosen by its sender.
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[ -~]+$")]
MetricName = Annotated[
    str, StringConstraints(min_length=1, max_length=limits.MAX_METRIC_NAME_CHARS)
]
# JSON has no NaN and no infinities: they travel as texts.
Value = Annotated[
    float,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"enum": ["NaN", "Infinity", "-Infinity"], "type": "string"},
            ]
        }
    ),
]
Metrics = Annotated[dict[MetricName, Value], Field(min_length=1, max_length=limits.MAX_RUN_METRICS)]


# Whole numbers that every language reads from JSON as they are.
MAX_NUMBER = 2**53 - 1
Step = Annotated[int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
# Seconds since the epoch, up to the year 9999.
Time = Annotated[float, Field(ge=0, le=253_402_300_799)]


class WorkVerb(StrEnum):
    ASK = "ask"
    REPORT = "report"
    HEARTBEAT = "heartbeat"
    TELL = "tell"
    RELEASE = "release"


class HeldTrial(Body):
    """trial: its name. attempt: as it was given out."""

    trial: Word
    attempt: Annotated[int, Field(ge=1, le=MAX_NUMBER)]


class Wanted(Body):
    """count: at most so many are given. lease: seconds until the trial is given to somebody else
    if nothing is heard of it."""

    count: Annotated[int, Field(ge=1, le=limits.MAX_ASKED_TRIALS)] = 1
    lease: Annotated[float, Field(ge=limits.MIN_LEASE_S, le=limits.MAX_LEASE_S)] = (
        limits.DEFAULT_LEASE_S
    )


class Ask(Wanted):
    """id: of this ask; repeated under it, it gets the same trials. worker: who asks, for people.
    wait: seconds to wait for the first trial when there is none."""

    id: Word
    worker: Word = "worker"
    wait: Annotated[float, Field(ge=0, le=limits.MAX_ASK_WAIT_S)] = 0


class Report(HeldTrial):
    """Values of metrics at one step. step: the same step of one attempt is taken once; None: each
    report is one, unless it has an `id` that came before. at: seconds since the epoch; None: now.
    """

    metrics: Metrics
    step: Step | None = None
    id: Word | None = None
    at: Time | None = None


class Result(HeldTrial):
    """How the trial ended. metrics: last values, of a success the objective among them. message:
    why it failed. reported: whether this attempt reported anything before; its worker knows, else
    it is looked up."""

    state: Literal["succeeded", "failed"] = "succeeded"
    metrics: dict[MetricName, Value] = Field(default_factory=dict)
    message: Annotated[str, Field(max_length=limits.MAX_MESSAGE_CHARS)] = ""
    reported: bool | None = None


class Reports(Body):
    reports: Annotated[tuple[Report, ...], Field(min_length=1, max_length=limits.MAX_WORK_ITEMS)]


class Heartbeat(Body):
    trials: Annotated[tuple[HeldTrial, ...], Field(min_length=1, max_length=limits.MAX_WORK_ITEMS)]


class Tell(Body):
    """ask: what is wanted next, so that one round trip does both; it never waits."""

    results: Annotated[tuple[Result, ...], Field(min_length=1, max_length=limits.MAX_WORK_ITEMS)]
    ask: Ask | None = None


class Release(Body):
    """Trials that their worker gives back undone: they start again as the next attempt."""

    trials: Annotated[tuple[HeldTrial, ...], Field(min_length=1, max_length=limits.MAX_WORK_ITEMS)]


Work = Ask | Reports | Heartbeat | Tell | Release
BODIES: dict[WorkVerb, type[Body]] = {
    WorkVerb.ASK: Ask,
    WorkVerb.REPORT: Reports,
    WorkVerb.HEARTBEAT: Heartbeat,
    WorkVerb.TELL: Tell,
    WorkVerb.RELEASE: Release,
}


# Field of the problem that nothing living has the experiment's name.
NAME_FIELD = "metadata.name"


class GivenTrial(HeldTrial):
    """A trial under a lease. index: 0-based order of opening. parameters: by name, typed as the
    space says. lease: seconds. checkpoint: folder or URI where the trial keeps what its next
    attempt goes on from; parent: that of the trial that it goes on from, "" if none. labels: what
    its algorithm marked it with. traceparent: the trial's place in a trace, as W3C's Trace Context
    has it; absent where none is kept."""

    index: int
    parameters: dict[str, Any]
    lease: float
    checkpoint: str = ""
    parent: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    traceparent: str | None = None


class Answered(HeldTrial):
    """Of one report, heartbeat, result or release, in their order.

    accepted: it is stored, or was before. Else `refused` says why it never will be: the lease was
    lost, the trial has ended, a value is missing; None: nobody knows, its sender repeats it.
    stop: why the worker should stop working on the trial, "" if it should not.
    """

    accepted: bool
    refused: str | None = None
    stop: str = ""


class WorkReply(Body):
    """accepted: the request could be read and its experiment is there; else `problems`. over: the
    experiment gives out no trials any more, as `phase` says. answers: one for each item. trials:
    what was asked for; fewer than asked: there are no more just now."""

    accepted: bool
    problems: tuple[FieldProblem, ...] = ()
    phase: str = ""
    over: bool = False
    answers: tuple[Answered, ...] = ()
    trials: tuple[GivenTrial, ...] = ()

    @classmethod
    def refused(cls, problems: Iterable[Problem]) -> "WorkReply":
        told = tuple(FieldProblem(field=it.field, message=it.message) for it in problems)
        return cls(accepted=False, problems=told)


def no_such_experiment(namespace: str, name: str) -> WorkReply:
    message = f"there is no experiment {namespace}/{name}"
    return WorkReply.refused([Problem(field=NAME_FIELD, message=message)])
