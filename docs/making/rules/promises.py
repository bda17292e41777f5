"""What is promised of latency and availability: the objectives that burn-rate alerts watch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from making.rules.series import bound_text

# Of the HTTP port, and nobody's work: probes come every few seconds, and a readiness that says no
# is an answer.
PROBES = ("/healthz", "/livez", "/readyz", "/metrics")
WORKED_ROUTES = f'route!~"{"|".join(PROBES)}"'
# Those that look at no result, and those that count running trials in.
_FREE = "random|sobol|grid"
_PENDING = "tpe|multivariate-tpe|cmaes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """`share` of the events are good: of a histogram, those of at most `bound_s` seconds; without
    a bound, those that `bad` does not choose. selector: which series count, as in braces; left_out:
    labels of one that does not. least: events that the long window of an alert needs; fewer say
    little. source: where it is from."""

    name: str
    alert: str
    what: str
    metric: str
    service: str
    share: float
    source: str
    bound_s: float | None = None
    selector: str = ""
    bad: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    least: int = 50

    def misses(self, window: str) -> str:
        """PromQL of the bad events a second."""
        if self.bound_s is None:
            # Without a single bad one there is no series of them.
            return f"({self._rate('_count', self.bad, window)} or {self.events(window)} * 0)"
        good = self._rate("_bucket", f'le="{bound_text(self.bound_s)}"', window)
        return f"({self.events(window)} - {good})"

    def events(self, window: str) -> str:
        """PromQL of all events a second."""
        return self._rate("_count", "", window)

    @property
    def told(self) -> str:
        """The promise as people say it."""
        share = f"{self.share * 100:g} %"
        if self.bound_s is None:
            return f"{share} {self.what}"
        within = f"{self.bound_s * 1000:g} ms" if self.bound_s < 1 else f"{self.bound_s:g} s"
        return f"{share} within {within}, {self.what}"

    @property
    def example(self) -> dict[str, str]:
        """Labels of a series that counts: of what is only not to be others, none."""
        if "!~" in self.selector:
            return {}
        name, _, values = self.selector.replace("=~", "=").partition("=")
        return {name: values.strip('"').split("|")[0]} if name else {}

    def _rate(self, part: str, more: str, window: str) -> str:
        chosen = ",".join(it for it in (self.selector, more) if it)
        return f"sum by (namespace) (rate({self.metric}{part}{{{chosen}}}[{window}]))"


PROMISES: tuple[Promise, ...] = (
    Promise(
        name="points",
        alert="TrialbusPointsLate",
        what="from a request for points to its answer, of random, sobol and grid",
        metric="trialbus_suggestion_seconds",
        service="suggestion",
        selector=f'algorithm=~"{_FREE}"',
        bound_s=0.1,
        share=0.99,
        source="`make bench-fair`: 99 random searches beside an algorithm that burns 5 s a point",
    ),
    Promise(
        name="modelled_points",
        alert="TrialbusModelledPointsLate",
        what="from a request for points to its answer, of tpe, multivariate-tpe and cmaes",
        metric="trialbus_suggestion_seconds",
        service="suggestion",
        selector=f'algorithm=~"{_PENDING}"',
        bound_s=1,
        share=0.99,
        source="`make bench-fair`: 20 experiments of tpe beside an algorithm that burns 5 s a "
        "point",
    ),
    Promise(
        name="launch",
        alert="TrialbusLaunchesLate",
        what="from a trial's opening to its process",
        metric="trialbus_trial_launch_seconds",
        service="trial_launcher",
        selector='place="process"',
        bound_s=0.5,
        share=0.99,
        source="`make bench`, `apply`: the first trial starts within 0.5 s of the command",
    ),
    Promise(
        name="next_trial",
        alert="TrialbusPlacesIdle",
        what="from a trial's end to the opening of the next, where points are drawn ahead",
        metric="trialbus_next_trial_seconds",
        service="experiment",
        selector=f'algorithm=~"{_FREE}|{_PENDING}"',
        bound_s=0.01,
        share=0.99,
        source="`make bench-fair`, `free-slot`: a free place of `parallelTrialCount`",
    ),
    Promise(
        name="report",
        alert="TrialbusReportsLate",
        what="from a reported point to its being stored",
        metric="trialbus_report_stored_seconds",
        service="metrics_collector",
        bound_s=1,
        share=0.99,
        source="`make bench`, `latency`: from the line to the stored point",
    ),
    Promise(
        name="verdict",
        alert="TrialbusVerdictsLate",
        what="from a reported point to the verdict that it leads to",
        metric="trialbus_stop_verdict_seconds",
        service="early_stopping",
        bound_s=1,
        share=0.99,
        source="a rule judges every report live; half of the 2 s in which a bad trial is to end",
        # A verdict is a stop, and there are few.
        least=20,
    ),
    Promise(
        name="http",
        alert="TrialbusGatewayUnavailable",
        what="of the requests are answered, other than by 5xx; without probes and scrapes",
        metric="trialbus_http_request_seconds",
        service="gateway",
        selector=WORKED_ROUTES,
        left_out={"route": "/readyz"},
        bad='code=~"5.."',
        share=0.999,
        source="the fuzzing of the HTTP calls (`make fuzz`) finds no 5xx",
        least=200,
    ),
)
