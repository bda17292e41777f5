"""Services that have not been heard of, as the reason why something does not go on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from trialbus.kernel.experiment import Experiment, OpenState, OpenTrial
from trialbus.kernel.heartbeats import Heartbeat
from trialbus.kernel.limits import SILENCE_S
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus_gateway.core.stories import WAITING, Standing, Step, Story, in_order

EXPERIMENT, SUGGESTION = "experiment", "suggestion"
LAUNCHER, COLLECTOR = "trial_launcher", "metrics_collector"
TOLD_SERVICES = (EXPERIMENT, SUGGESTION, LAUNCHER, COLLECTOR)
# Of which host a launcher must be: of any, for trials that none has taken.
ANY_HOST = ""
_REMEDY = (
    "See whether its process or pod lives (`trialbus status`), and what its log says. One that has "
    "ended is started again by itself, one that is frozen has to be killed first."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A service that something waits for. lacks: what does not happen without it. host: of the
    trial launcher."""

    service: str
    lacks: str
    host: str = ANY_HOST


_LIFE = Needed(
    service=EXPERIMENT, lacks="no trial is opened, counted or stopped, and no command obeyed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeats:
    """As they are at `now`. Of a service without any nothing is known: it may be an older one."""

    beats: Sequence[Heartbeat] = field(default=())
    now: float = 0.0

    def silent_since(self, needed: Needed) -> float | None:
        """When it was heard last; None: it lives, as far as is known."""
        heard = [
            it.heard_at
            for it in self.beats
            if it.service == needed.service and needed.host in (ANY_HOST, it.host)
        ]
        newest = max(heard, default=None)
        return None if newest is None or self.now - newest < SILENCE_S else newest


def needed_by_experiment(state: Experiment, runs: Iterable[Run]) -> Iterator[Needed]:
    """runs: of its open trials, their newest attempts. What holds up most comes first."""
    if state.ended:
        return
    yield _LIFE
    by, taken = state.spec.trials_by, {run.index: run for run in runs}
    for key, open_ in state.open.items():
        yield from needed_by_trial(open_, taken.get(int(key)), by)
    if any(request.got is None for request in state.requests):
        yield Needed(service=SUGGESTION, lacks="no points are drawn")


def needed_by_trial(open_: OpenTrial, run: Run | None, by: TrialsBy) -> Iterator[Needed]:
    """run: of this attempt, None while nobody has taken it."""
    if open_.state is OpenState.PAUSED or by is TrialsBy.IMPORT:
        return
    if by is TrialsBy.WORKERS:
        yield Needed(service=LAUNCHER, lacks="workers get no trials and no answers")
    elif run is None:
        yield Needed(service=LAUNCHER, lacks="no trial is started")
    elif run.phase is RunPhase.RUNNING:
        lacks = "its trials can be neither watched nor stopped (their processes may go on)"
        yield Needed(service=LAUNCHER, host=run.host, lacks=lacks)
    if run is None:
        return
    if run.phase is RunPhase.LOST:
        yield _LIFE
    else:
        yield Needed(service=COLLECTOR, lacks="what trials report is not stored")


def with_silences(story: Story, needed: Iterable[Needed], heard: Heartbeats) -> Story:
    """What is needed and silent is a step that is waited for, and where the story stands."""
    steps = tuple(
        _step(it, since)
        for it in dict.fromkeys(needed)
        if (since := heard.silent_since(it)) is not None
    )
    if not steps:
        return story
    standing = Standing(reason=steps[0].reason, message=f"{steps[0].message}. {_REMEDY}")
    return replace(story, standing=standing, chain=in_order([*story.chain, *steps]))


def _step(needed: Needed, since: float) -> Step:
    name = needed.service.replace("_", " ")
    where = f" of {needed.host}" if needed.host else ""
    at = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    message = f"the {name}{where} has not been heard since {at}: {needed.lacks}"
    return Step(at=since, event=WAITING, reason=_reason(needed.service), message=message)


def _reason(service: str) -> str:
    """`TrialLauncherSilent`."""
    return "".join(map(str.capitalize, service.split("_"))) + "Silent"


SILENCES = frozenset(map(_reason, TOLD_SERVICES))
