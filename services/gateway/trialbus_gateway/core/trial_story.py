"""Why a trial is in its state: its point, each of its attempts, what was observed, its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trialbus.kernel.evidence import StoppingVerdict
from trialbus.kernel.experiment import ClosingTrial, Experiment, OpenTrial
from trialbus.kernel.ids import trial_name
from trialbus.kernel.lineage import (
    CONTINUE,
    EXPLOIT,
    FAILED_RANK,
    MEMBER_LABEL,
    MOVE_LABEL,
    PARENT_MEMBER_LABEL,
    PARENT_RANK_LABEL,
    RANK_LABEL,
)
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import MetricValues, Trial, TrialPhase
from trialbus_gateway.core.stories import (
    Standing,
    Step,
    Story,
    counted,
    in_order,
    value_text,
)
from trialbus_gateway.core.waits import state_text, wait_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFacts:
    """All documents that tell of one trial. runs: of its attempts, oldest first. verdicts: by
    attempt. experiment: None once it is deleted."""

    trial: Trial
    experiment: Experiment | None = None
    answer: Answer | None = None
    runs: Sequence[Run] = ()
    verdicts: Mapping[int, StoppingVerdict] = field(default_factory=dict)

    @property
    def at_hand(self) -> OpenTrial | ClosingTrial | None:
        """What its experiment says of it while it is not over."""
        if self.experiment is None:
            return None
        key = str(self.trial.index)
        return self.experiment.open.get(key) or self.experiment.closing.get(key)

    @property
    def attempt(self) -> int:
        """Its newest one."""
        return self.trial.attempt if self.at_hand is None else self.at_hand.attempt

    @property
    def trials_by(self) -> TrialsBy:
        return TrialsBy.LAUNCHER if self.experiment is None else self.experiment.spec.trials_by

    @property
    def run(self) -> Run | None:
        """Of its newest attempt."""
        return next((run for run in self.runs if run.attempt == self.attempt), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStory:
    """exit_code, signal, stop_reason, log_tail: of the newest attempt that has a run."""

    story: Story
    exit_code: int | None
    signal: int | None
    stop_reason: str | None
    evidence: StoppingVerdict | None
    log_tail: str


_SPOKEN = {
    TrialPhase.EARLY_STOPPED: "early stopped",
    TrialPhase.METRICS_UNAVAILABLE: "metrics unavailable",
}


def spoken(phase: TrialPhase) -> str:
    return _SPOKEN.get(phase, phase.value.lower())


def tell_trial(facts: TrialFacts, now: float) -> TrialStory:
    trial = facts.trial
    last = facts.runs[-1] if facts.runs else None
    verdicts = [facts.verdicts[attempt] for attempt in sorted(facts.verdicts)]
    return TrialStory(
        story=Story(
            subject=f"trial {trial.namespace}/{trial.name}",
            uid=trial.uid,
            state=state_text(trial, facts.at_hand, facts.run),
            standing=_standing(facts, now),
            chain=in_order(_steps(facts, now)),
        ),
        exit_code=last.exit_code if last is not None else trial.exit_code,
        signal=last.signal if last is not None else trial.signal,
        stop_reason=(last.stop_reason or None) if last is not None else None,
        evidence=verdicts[-1] if verdicts else None,
        log_tail=(last.log_tail if last is not None else "") or trial.log_tail,
    )


def _standing(facts: TrialFacts, now: float) -> Standing:
    trial, at_hand = facts.trial, facts.at_hand
    if trial.ended:
        return Standing(reason=trial.reason, message=trial.message)
    if isinstance(at_hand, ClosingTrial):
        return Standing(reason=at_hand.reason, message=at_hand.message)
    if isinstance(at_hand, OpenTrial):
        wait = wait_of(trial.name, at_hand, facts.run, facts.trials_by, now)
        return Standing(reason=wait.reason, message=wait.message)
    return Standing(reason="ExperimentDeleted", message="Its experiment is gone")


def _steps(facts: TrialFacts, now: float) -> Iterator[Step]:
    if facts.answer is not None:
        yield _drawn(facts.answer, facts.trial)
    yield _created(facts.trial)
    if facts.trial.parent is not None:
        yield _went_on(facts.trial, facts.trial.parent)
    for run in facts.runs:
        yield from _attempt(run, facts.verdicts.get(run.attempt))
    if facts.trial.ended:
        yield from _closed(facts.trial)
    elif isinstance(facts.at_hand, ClosingTrial):
        closing = facts.at_hand
        yield Step(
            at=closing.closed_at,
            event=spoken(closing.phase),
            reason=closing.reason,
            message=closing.message,
        )
    elif isinstance(facts.at_hand, OpenTrial):
        yield wait_of(facts.trial.name, facts.at_hand, facts.run, facts.trials_by, now)


def _drawn(answer: Answer, trial: Trial) -> Step:
    place = trial.index - answer.first + 1
    knew = counted(answer.watermark, "finished trial")
    return Step(
        at=answer.answered_at,
        event="point drawn",
        reason=f"Request{answer.number}",
        message=f"point {place} of {len(answer.points)} in the answer to request {answer.number}, "
        f"drawn in {answer.took_s:.3f} s with seed {answer.seed}, knowing {knew}",
    )


def _created(trial: Trial) -> Step:
    point = ", ".join(f"{item.name}={item.value}" for item in trial.assignments)
    return Step(
        at=trial.created_at,
        event="created",
        reason="TrialCreated",
        message=f"Trial is created with {point}",
    )


def _went_on(trial: Trial, parent: int) -> Step:
    """Whose checkpoint it has, and why."""
    labels = dict(trial.labels)
    name = trial_name(trial.experiment, trial.uid, parent)
    message = f"goes on from the checkpoint of {name}"
    member, rank = labels.get(MEMBER_LABEL), labels.get(RANK_LABEL, "")
    stood = "had failed" if rank == FAILED_RANK else f"was {rank.replace('-', ' ')}"
    move = labels.get(MOVE_LABEL, "")
    if move == EXPLOIT:
        best = labels.get(PARENT_RANK_LABEL, "").replace("-", " ")
        copied = labels.get(PARENT_MEMBER_LABEL)
        message += (
            f": member {member} {stood}, so it copies member {copied}, which was {best}, and "
            "changes the parameters"
        )
    elif move == CONTINUE:
        message += f": member {member} {stood} and keeps its own"
    return Step(at=trial.created_at, event="continues", reason=move.capitalize(), message=message)


def _attempt(run: Run, verdict: StoppingVerdict | None) -> Iterator[Step]:
    """One attempt: taken, started, judged, ended."""
    attempt = f"attempt {run.attempt}"
    message = f"{attempt} was taken by the launcher on {run.host}"
    yield Step(at=run.created_at, event="taken", message=message)
    if run.started_at is not None:
        message = f"{attempt} began to run on {run.host}"
        yield Step(at=run.started_at, event="started", reason="TrialRunning", message=message)
    if verdict is not None:
        yield _judged(attempt, verdict)
    if run.ended:
        at = run.finished_at if run.finished_at is not None else run.created_at
        event = "lost" if run.phase is RunPhase.LOST else "ended"
        yield Step(at=at, event=event, reason=run.stop_reason, message=_end(attempt, run))


def _judged(attempt: str, verdict: StoppingVerdict) -> Step:
    """A reason is one word, so that it can be a column; the rule's sentence is in the message."""
    what = "is to stop" if verdict.stop else "may go on"
    return Step(
        at=verdict.decided_at,
        event="judged",
        reason="StoppedByRule" if verdict.stop else "",
        message=f"{attempt} {what} after step {verdict.step} by the rule {verdict.rule}: "
        f"{verdict.reason}",
    )


def _end(attempt: str, run: Run) -> str:
    if run.phase is RunPhase.LOST:
        how = "left no result"
    elif run.signal is not None:
        how = f"was ended by signal {run.signal}"
    else:
        how = f"ended with exit code {run.exit_code}"
    asked = f", stopped by us: {run.stop_reason}" if run.stop_reason else ""
    detail = f" ({run.message})" if run.message else ""
    return f"{attempt} {how}{asked}{detail}"


def _closed(trial: Trial) -> Iterator[Step]:
    at = trial.completed_at if trial.completed_at is not None else trial.created_at
    if trial.observation:
        told = "; ".join(map(_observed, trial.observation))
        yield Step(at=at, event="observed", reason="ObservationRecorded", message=told)
    order = "" if trial.finished is None else f" (trial number {trial.finished} to end)"
    yield Step(
        at=at,
        event=spoken(trial.phase),
        reason=trial.reason,
        message=f"{trial.message}{order}",
    )


def _observed(values: MetricValues) -> str:
    told = f"{values.name}: latest {values.text or value_text(values.latest)}"
    if not values.has_numbers:
        return told
    return f"{told}, min {value_text(values.min)}, max {value_text(values.max)}"
