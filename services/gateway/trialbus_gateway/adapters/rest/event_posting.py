"""What a caller must know of `POST /v1/events`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from trialbus.contracts import work_events
from trialbus.contracts.cloud_events import BATCH, MAX_ATTRIBUTE_CHARS, SPEC_VERSION, STRUCTURED
from trialbus.contracts.command_events import VERBS, event_type
from trialbus.contracts.work import WorkReply, WorkVerb
from trialbus.kernel.limits import MAX_BATCH_EVENTS, MAX_EVENT_WAIT_S
from trialbus_gateway.adapters.rest.known_parameters import (
    EXAMPLE_EXPERIMENT,
    EXAMPLE_NAMESPACE,
)
from trialbus_gateway.adapters.rest.operations import JSON, Answer, Body, Example, Operation
from trialbus_gateway.adapters.rest.parameters import Whole
from trialbus_gateway.adapters.rest.shapes import ProblemShape, Progress, Shape

WAIT = Whole(
    name="wait",
    about="Answer when the experiment has ended, or after so many seconds.",
    least=0,
    most=int(MAX_EVENT_WAIT_S),
)


_TYPES = [*map(event_type, VERBS), *map(work_events.event_type, WorkVerb)]


class CommandCloudEvent(BaseModel):
    """A command as a CloudEvent 1.0. Further attributes: `workingdir`, `experimentuid`, and any."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    specversion: str = Field(json_schema_extra={"const": SPEC_VERSION})
    id: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARS)
    """With `source` it names the event: the same twice has one effect."""
    source: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARS)
    type: str = Field(json_schema_extra={"enum": [*_TYPES]})
    subject: str | None = Field(None, min_length=1, max_length=MAX_ATTRIBUTE_CHARS)
    """The experiment, `<namespace>/<name>`; an Experiment in `data` names itself."""
    data: Any = None
    """An Experiment for `create` and `apply`, fields of its spec for `edit`; what a worker says."""


class TakenShape(Shape):
    """An event whose command has been committed."""

    id: str
    """Of the event."""
    namespace: str
    experiment: str
    uid: str
    created: bool
    """By this event."""
    changed: bool
    """There was anything to do."""


class WorkedShape(Shape):
    """A worker's word, with its answer."""

    id: str
    """Of the event."""
    namespace: str
    experiment: str
    result: WorkReply


class AwaitedShape(TakenShape):
    """The answer to an event with `wait`."""

    finished: bool
    result: Progress | None
    """How the experiment ended."""


class OfBatchTaken(TakenShape):
    """One event of a batch, which was taken."""

    status: int


class OfBatchAwaited(AwaitedShape):
    """One event of a batch with `wait`; `status` is 200 if its experiment has ended."""

    status: int


class OfBatchWorked(WorkedShape):
    """A worker's word of a batch, with its answer."""

    status: int


class OfBatchFailed(Shape):
    """One event of a batch, which was not taken."""

    id: Any
    status: int
    message: str
    problems: list[ProblemShape]


class BatchShape(Shape):
    """What became of each event, in their order."""

    events: list[OfBatchTaken | OfBatchAwaited | OfBatchWorked | OfBatchFailed]


_SUSPEND = {
    "specversion": SPEC_VERSION,
    "id": "nightly-7-suspend",
    "source": "/pipelines/nightly",
    "type": event_type("suspend"),
    "subject": f"{EXAMPLE_NAMESPACE}/{EXAMPLE_EXPERIMENT}",
}

POST = Operation(
    id="postEvents",
    tag="events",
    summary="Commands as CloudEvents: structured, binary, or a batch",
    about="Binary mode has the attributes as headers `ce-*` and the data as its body. The same "
    "event again (`source` and `id`) gets the same answer and has no second effect. "
    f"A batch has at most {MAX_BATCH_EVENTS} events; with `wait` all of its experiments are waited "
    "for, together no longer than for one.",
    parameters=(WAIT,),
    body=Body(
        about="The event or events; plain JSON is taken as a structured event.",
        shapes={STRUCTURED: CommandCloudEvent, BATCH: list[CommandCloudEvent], JSON: Any},
    ),
    answers={
        200: Answer(
            about="With `wait`: the experiment has ended. Of a worker's word: its answer.",
            shape=AwaitedShape | WorkedShape | BatchShape,
        ),
        202: Answer(
            about="It is committed; with `wait`, its experiment has not ended yet.",
            shape=TakenShape | AwaitedShape | BatchShape,
        ),
        207: Answer(about="Not all events of a batch were taken.", shape=BatchShape),
    },
    failures=(404, 409, 422),
    examples=[
        Example(
            name="structured",
            about="Suspend an experiment",
            body=_SUSPEND,
            media_type=STRUCTURED,
            status=202,
        ),
        Example(
            name="binary",
            about="Stop an experiment",
            headers={
                "ce-specversion": SPEC_VERSION,
                "ce-id": "nightly-7-stop",
                "ce-source": "/pipelines/nightly",
                "ce-type": event_type("stop"),
                "ce-subject": f"{EXAMPLE_NAMESPACE}/{EXAMPLE_EXPERIMENT}",
            },
            body={},
            status=202,
        ),
        Example(
            name="batch",
            about="Suspend one experiment, and another that is not there",
            body=[_SUSPEND, {**_SUSPEND, "id": "nightly-8-suspend", "subject": "lab/gone"}],
            media_type=BATCH,
            status=207,
        ),
    ],
)
