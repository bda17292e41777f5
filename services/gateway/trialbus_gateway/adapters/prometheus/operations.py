"""What a caller must know of each call of Prometheus' read API."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trialbus_gateway.adapters.prometheus import parameters as given
from trialbus_gateway.adapters.prometheus.shapes import (
    BuildAnswer,
    MetadataAnswer,
    NamesAnswer,
    QueryAnswer,
    RangeAnswer,
    SeriesAnswer,
    SeriesFailure,
)
from trialbus_gateway.adapters.rest.known_parameters import EXAMPLE_EXPERIMENT, EXAMPLE_NAMESPACE
from trialbus_gateway.adapters.rest.operations import Answer, Body, Example, Operation
from trialbus_gateway.adapters.rest.parameters import Parameter, Text

TAG = "series"
_OF_EXAMPLE = f'{{namespace="{EXAMPLE_NAMESPACE}",experiment="{EXAMPLE_EXPERIMENT}"}}'
_BEST = f"experiment_best_value{_OF_EXAMPLE}"
_TRIALS = f"experiment_trials{_OF_EXAMPLE}"

LABEL = Text(
    name="label",
    about="The label; `__name__` is that of the series' names.",
    place="path",
    required=True,
    example="experiment",
    least_chars=1,
    most_chars=100,
    pattern="^[a-zA-Z_][a-zA-Z0-9_]*$",
)


def _operation(
    id_: str,
    summary: str,
    shape: Any,
    parameters: Sequence[Parameter],
    examples: Sequence[Example],
    about: str = "",
) -> Operation:
    return Operation(
        id=id_,
        tag=TAG,
        summary=summary,
        about=about,
        parameters=tuple(parameters),
        answers={200: Answer(about="What was found.", shape=shape)},
        failures=(422,),
        failure_shape=SeriesFailure,
        examples=examples,
    )


QUERY = _operation(
    "querySeries",
    "Series at one time",
    QueryAnswer,
    (given.QUERY, given.TIME, given.LIMIT, *given.IGNORED),
    [
        Example(name="best", about="The best objective so far", query={"query": _BEST}),
        Example(name="check", about="Whether anybody is there", query={"query": "1+1", "time": 4}),
    ],
    "A value holds until the next one.",
)
RANGE = _operation(
    "querySeriesRange",
    "Series over time",
    RangeAnswer,
    (given.QUERY, given.START, given.END, given.STEP, given.LIMIT, *given.IGNORED),
    [
        Example(
            name="trials",
            about="How many trials have ended, each quarter of a minute",
            query={"query": _TRIALS, "start": 100, "end": 400, "step": "15s"},
        )
    ],
    "At each time the last value at or before it.",
)
SERIES = _operation(
    "listSeries",
    "Labels of series",
    SeriesAnswer,
    (replace(given.MATCH, required=True), given.START, given.END, given.LIMIT),
    [Example(name="one", about="Those of an experiment's best", query={"match[]": [_BEST]})],
)
LABELS = _operation(
    "listLabels",
    "Names of labels",
    NamesAnswer,
    (given.MATCH, given.START, given.END, given.LIMIT),
    [Example(name="all", about="All of them")],
)
VALUES = _operation(
    "listLabelValues",
    "Values of a label",
    NamesAnswer,
    (LABEL, given.MATCH, given.START, given.END, given.LIMIT),
    [
        Example(name="experiments", about="Experiments"),
        Example(name="series", about="Names of series", path={"label": "__name__"}),
        Example(
            name="trials",
            about="Trials of an experiment",
            path={"label": "trial"},
            query={"match[]": [f"trial_metric{_OF_EXAMPLE}"]},
        ),
    ],
)
METADATA = _operation(
    "getSeriesMetadata",
    "What each series means",
    MetadataAnswer,
    (
        given.METRIC,
        given.LIMIT,
        Text(name="limit_per_metric", about="Taken, and without effect.", most_chars=9),
    ),
    [Example(name="all", about="All of them")],
)
BUILD = _operation(
    "getSeriesBuild",
    "What answers here, for clients that ask for Prometheus' version",
    BuildAnswer,
    (),
    [Example(name="build", about="What answers here")],
)


def posted(operation: Operation, form: str) -> Operation:
    """The same call with a form as its body. form: the one of its example."""
    example = Example(name="form", about="The same, posted", body=form, media_type=given.FORM)
    return replace(
        operation,
        id=f"{operation.id}Posted",
        parameters=given.in_form(operation.parameters),
        body=Body(
            about="The parameters as a form; they may also stand in the query.",
            shapes={given.FORM: dict[str, Any]},
            required=False,
        ),
        examples=[example],
    )
