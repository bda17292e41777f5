"""How trials are chosen, sorted and shown: the parameters of every list of trials."""

from collections.abc import Sequence

from starlette.requests import Request

from trialbus.kernel.limits import MAX_METRIC_NAME_CHARS, MAX_RUN_METRICS
from trialbus_gateway.adapters.rest.parameters import Choice, Choices, Parameter, Real, Texts, Whole
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.app.metrics import MetricsWanted
from trialbus_gateway.app.trial_questions import View
from trialbus_gateway.app.trial_selection import STATES, TrialSelection, TrialSort

_MAX_INDEX = 2**31 - 1
# Thinned points of one metric: more than a screen has columns.
MAX_THINNED_POINTS = 10_000

STATE = Choices(
    name="state",
    about="Only trials in one of these states: given several times, or in one with commas.",
    among=STATES,
)
VALUE_FROM = Real(name="valueFrom", about="Only trials whose objective is at least this number.")
VALUE_TO = Real(name="valueTo", about="Only trials whose objective is at most this number.")
INDEX_FROM = Whole(
    name="indexFrom", about="Only from this index on; the first is 0.", least=0, most=_MAX_INDEX
)
INDEX_TO = Whole(name="indexTo", about="Only up to this index.", least=0, most=_MAX_INDEX)
_SORTS = (
    "`index`: in the order of opening, `-index`: the newest first; `value`: the best first, by the "
    "objective's direction, `-value`: the worst first; `finished`: in the order of ending, "
    "`-finished`: the last ended first. Failed trials with a value count unless `state` says "
    "otherwise. Trials without such a number (NaN, text, none, not ended) "
    "come last, by index; of equal values the earlier comes first where values rise, the later "
    "where they fall. A trial that ends between two pages may move."
)
SORT = Choice(name="sort", about=_SORTS, among=tuple(TrialSort), default=TrialSort.OPENED.value)
SORT_CURVES = Choice(
    name="sort",
    about="The newest first, unless said otherwise; the words are those of lists of trials.",
    among=tuple(TrialSort),
    default=TrialSort.NEWEST.value,
)
VIEW = Choice(
    name="view",
    about="`object`: Katib's Trial objects; `table`: one flat row for each.",
    among=("object", "table"),
    default="object",
)
SELECTION: Sequence[Parameter] = (STATE, VALUE_FROM, VALUE_TO, INDEX_FROM, INDEX_TO)

METRIC = Texts(
    name="metric",
    about="Only these metrics; may be given several times.",
    least_chars=1,
    most_chars=MAX_METRIC_NAME_CHARS,
    most=MAX_RUN_METRICS,
)
_THINNED = (
    "At most so many points of each metric: the ends, and of each bucket of neighbours the lowest "
    "and the highest, so that no spike is lost. Points that are no number are left out where "
    "there are numbers."
)
POINTS = Whole(
    name="points", about=f"{_THINNED} Without it: all.", least=2, most=MAX_THINNED_POINTS
)
POINTS_OF_MANY = Whole(name="points", about=_THINNED, least=2, most=1000, default=100)
FROM = Whole(name="from", about="Only from this step on; the first is 1.", least=1, most=_MAX_INDEX)
TO = Whole(name="to", about="Only up to this step.", least=1, most=_MAX_INDEX)


def selection_of(request: Request, sort: Choice = SORT) -> TrialSelection:
    """Raises Unreadable."""
    value_from, value_to = VALUE_FROM.of(request), VALUE_TO.of(request)
    index_from, index_to = INDEX_FROM.of(request), INDEX_TO.of(request)
    _in_order("value", value_from, value_to)
    _in_order("index", index_from, index_to)
    return TrialSelection(
        states=STATE.of(request),
        value_from=value_from,
        value_to=value_to,
        index_from=index_from,
        index_to=index_to,
        sort=TrialSort(sort.of(request)),
    )


def view_of(request: Request) -> View:
    """Raises Unreadable."""
    return "table" if VIEW.of(request) == "table" else "object"


def metrics_wanted(request: Request, points: Whole = POINTS) -> MetricsWanted:
    """Raises Unreadable."""
    step_from, step_to = FROM.of(request), TO.of(request)
    _in_order("step", step_from, step_to)
    return MetricsWanted(
        metrics=frozenset(METRIC.each(request)),
        points=points.of(request),
        step_from=step_from,
        step_to=step_to,
    )


def _in_order(what: str, low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise Unreadable(f"{what}: from {low} to {high} is nothing")
