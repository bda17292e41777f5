"""What bodies and answers look like, for the OpenAPI document and the tests of answers.

Nothing is read or written through these: answers are made in `app/answers.py` and `app/rows.py`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from trialbus.contracts.katib.models import Experiment, Suggestion, Trial
from trialbus_gateway.app.trial_selection import STATES

Json = Any
# Told by their own models.
KATIB_SHAPES = frozenset({it.__name__ for it in (Experiment, Suggestion, Trial)})
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
# NaN and infinities are texts; a metric may have other texts too.
Value = Annotated[
    float | str,
    Field(
        description='A number; `"NaN"`, `"Infinity"`, `"-Infinity"`; or a text that is no number.'
    ),
]
Next = Annotated[
    str | None,
    Field(description="Given back as `after` for the page that follows; null: there is none."),
]


TrialStateName = Annotated[str, Field(json_schema_extra={"enum": list(STATES)})]


class Shape(BaseModel):
    """An object with these fields and no others."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True
    )


class ProblemShape(Shape):
    """One thing that is wrong with what was sent."""

    field: str
    """Where, as a path; "" for the whole."""
    message: str
    """What is wrong with it."""


class Failure(Shape):
    """Why a call failed."""

    message: str
    problems: list[ProblemShape]
    """Every problem at once, where it was refused."""


class Status(Shape):
    """The gateway and its servers."""

    version: str
    services: dict[str, bool]
    """Which servers the gateway reaches: `nats` and `mongo`."""


class ExperimentPage(Shape):
    """One page of experiments; their status has no lists of trial names."""

    items: list[Experiment]
    next: Next


class TrialPage(Shape):
    """One page of Katib's Trial objects."""

    items: list[Trial]
    next: Next


class TrialRow(Shape):
    """A trial as a row of a table."""

    trial: str
    namespace: str
    experiment: str
    index: int
    """In the order of opening, from 0."""
    attempt: int
    """The newest one, from 1."""
    state: TrialStateName
    value: Value | None
    """The objective, by its strategy; null: it was not observed."""
    metrics: dict[str, Value]
    """Of each metric the value that counts."""
    parameters: dict[str, str]
    labels: dict[str, str]
    """What its algorithm marked it with: rung, generation, parent."""
    finished: int | None
    """In the order of ending, from 1."""
    start_time: Moment | None
    completion_time: Moment | None
    duration_seconds: float | None


class TrialTable(Shape):
    """One page of rows."""

    items: list[TrialRow]
    next: Next


class SuggestionPage(Shape):
    """One page of Katib's Suggestion objects, without their assignments."""

    items: list[Suggestion]
    next: Next


class PointsRequestShape(Shape):
    """What the algorithm was asked for, as far as it is not all used."""

    number: int
    first: int
    """Index of the trial that its first point is for."""
    count: int
    got: int | None
    watermark: int
    """How many finished trials the algorithm may know."""
    asked_at: Moment


class PointShape(Shape):
    """A point, as it was drawn."""

    index: int
    state: Literal["trial", "ahead", "dropped"]
    trial: str | None
    parameters: dict[str, str]
    labels: dict[str, str]
    """What the algorithm marked it with."""
    parent: str | None
    """The trial whose checkpoint it goes on from."""


class PointsAnswer(Shape):
    """What the algorithm answered to one request."""

    number: int
    first: int
    watermark: int
    seed: int
    exhausted: bool
    refused: str | None
    answered_at: Moment
    took_seconds: float
    settings: dict[str, str] | None
    points: list[PointShape]


class PointsPage(Shape):
    """How far the algorithm is, with one page of its answers."""

    namespace: str
    experiment: str
    algorithm: str
    look_ahead: str | None
    """How far ahead of need it may draw: `free`, `pending`, `none`."""
    trials: int
    """Points that became trials."""
    ahead: int
    """Points that are drawn and no trials yet."""
    exhausted: bool
    requests: list[PointsRequestShape]
    items: list[PointsAnswer]
    next: Next


class Named(Shape):
    """The metric that is optimised."""

    type: Literal["minimize", "maximize"]
    name: str


class TrialCountsShape(Shape):
    """Trials by what became of them; all but `created` add up to it."""

    created: int
    pending: int
    paused: int
    running: int
    succeeded: int
    failed: int
    killed: int
    early_stopped: int
    metrics_unavailable: int


class CheckpointShape(Shape):
    """The folder that a repetition of the trial needs."""

    path: str
    copy_of: str | None


class Spent(Shape):
    """What of its budgets is used; null: there is no such budget."""

    seconds: float
    max_seconds: float | None
    resource_seconds: float
    max_resource_seconds: float | None
    resource: str


class Best(Shape):
    """The best trial so far, with what its attempt ran."""

    trial: str
    value: Value
    parameters: dict[str, str]
    command: list[str] | None
    working_dir: str | None
    env: dict[str, str]
    checkpoint: CheckpointShape | None
    artifacts: str | None
    """The folder or URI where the trial may have left artifacts; null where workers ran it."""


class Progress(Shape):
    """An experiment in a few numbers."""

    uid: str
    namespace: str
    name: str
    phase: str
    reason: str
    message: str
    start_time: Moment | None
    completion_time: Moment | None
    parallel: int
    max: int | None
    goal: float | None
    spent: Spent
    objective: Named
    trials: TrialCountsShape
    best: Best | None


class StepShape(Shape):
    """One thing that happened, or that is waited for."""

    at: Moment
    event: str
    reason: str
    message: str


class Explanation(Shape):
    """Why it is in its state."""

    subject: str
    uid: str
    state: str
    reason: str
    message: str
    chain: list[StepShape]


class Evidence(Shape):
    """What a stopping rule decided, and with what."""

    rule: str
    stop: bool
    step: int
    reason: str
    best: Value
    median: Value | None
    numbers: dict[str, Json]
    completed: int
    watermark: int
    decided_at: Moment


class TrialExplanation(Explanation):
    """Why a trial is in its state."""

    exit_code: int | None
    signal: int | None
    stop_reason: str | None
    evidence: Evidence | None
    log_tail: str


class SeriesShape(Shape):
    """One metric: steps, values and times, of the same lengths."""

    name: str
    steps: list[int]
    """The place of each point among the metric's own, from 1."""
    values: list[Value]
    times: list[float]
    """Seconds since the epoch."""
    count: int
    """Points within the wanted steps, of which these may be a few."""


class TrialMetricsShape(Shape):
    """What the newest attempt of a trial reported."""

    trial: str
    attempt: int
    metrics: list[SeriesShape]
    truncated: bool
    """There are more points than were looked at."""


class TrialCurves(TrialMetricsShape):
    """A trial with its metrics."""

    index: int
    state: TrialStateName
    value: Value | None
    parameters: dict[str, str]


class CurvesPage(Shape):
    """Metrics of many trials."""

    items: list[TrialCurves]
    next: Next


class AcceptedShape(Shape):
    """A command that has been taken."""

    id: str
    uid: str


class AppliedShape(AcceptedShape):
    """An Experiment that has been applied."""

    created: bool
    changed: bool
