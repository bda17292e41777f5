"""Whatever is seen in whatever order, however often: an experiment's invariants hold."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment, OpenState
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.run import Run
from trialbus.kernel.suggestion import Answer, LookAhead
from trialbus.testkit.experiment_states import (
    NOW,
    answer,
    lost,
    objective,
    run,
    running,
    spec,
    stopped,
    summary,
)
from trialbus_experiment.core.commands import Applied, create, delete, edit, suspend
from trialbus_experiment.core.decide import decide
from trialbus_experiment.core.observed import Observed, SeenObservation

SPEC = spec(max_failed_trial_count=3, objective=objective(goal=0.05))
ENDS = st.sampled_from(["well", "failed", "lost", "stopped"])
LOOK_AHEADS = st.sampled_from(LookAhead)


class Living(RuleBasedStateMachine):
    """One experiment, its answers and its runs. Reads may miss what is new, never what is old."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        first = Applied(uid="u", namespace="ns", name="exp", spec=SPEC, source={})
        self.state: Experiment = create(first, self.now)
        self.answers: dict[int, Answer] = {}
        self.runs: dict[tuple[int, int], Run] = {}
        self.losses: dict[tuple[int, int], float] = {}
        self.written: set[int] = set()

    # What others do ----------------------------------------------------------------------------

    @rule(points=st.integers(0, 12), look_ahead=LOOK_AHEADS)
    def answer_the_request(self, points: int, look_ahead: LookAhead) -> None:
        for asked in self.state.requests:
            if asked.number not in self.answers:
                count = min(points, asked.count)
                self.answers[asked.number] = answer(
                    asked.number,
                    first=asked.first,
                    count=count,
                    look_ahead=look_ahead,
                    exhausted=count < asked.count,
                )

    @rule()
    def begin_runs(self) -> None:
        for index, trial in self.state.open.items():
            key = (int(index), trial.attempt)
            if trial.state is OpenState.ACTIVE and key not in self.runs:
                self.runs[key] = running(key[0], attempt=key[1])

    @rule(place=st.integers(0, 20), how=ENDS, loss=st.floats(0, 1), stored=st.booleans())
    def end_a_run(self, place: int, how: str, loss: float, stored: bool) -> None:
        alive = [key for key, it in self.runs.items() if not it.ended]
        if not alive:
            return
        index, attempt = key = alive[place % len(alive)]
        open_ = self.state.open.get(str(index))
        reason = (open_.stop if open_ is not None else "") or "EarlyStopped"
        ends = {
            "well": run(index, attempt=attempt),
            "failed": run(index, attempt=attempt, exit_code=1),
            "lost": lost(index, attempt=attempt),
            "stopped": stopped(index, reason, attempt=attempt),
        }
        self.runs[key] = ends[how]
        if stored:
            self.losses[key] = loss

    @rule()
    def write_trial_documents(self) -> None:
        self.written |= {int(index) for index in self.state.closing}

    @rule(seconds=st.sampled_from([0.1, 5.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(0, 64))
    def publish(self, count: int) -> None:
        kept = self.state.outbox[count:]
        outbox_at = self.state.outbox_at if kept else None
        self.state = replace(self.state, outbox=kept, outbox_at=outbox_at)

    # What people do ----------------------------------------------------------------------------

    @rule(suspended=st.booleans())
    def ask_to_suspend(self, suspended: bool) -> None:
        try:
            self.command(suspend(self.state, self.now, suspended=suspended).state)
        except Refused:
            assert self.state.phase in (Phase.DELETING, Phase.DELETED)

    @rule(parallel=st.integers(1, 5), most=st.integers(1, 14))
    def change_the_budget(self, parallel: int, most: int) -> None:
        wanted = replace(self.state.spec, parallel_trial_count=parallel, max_trial_count=most)
        asked = Applied(uid="u", namespace="ns", name="exp", spec=wanted, source={})
        try:
            self.command(edit(self.state, asked, self.now).state)
        except Refused:
            last = (Phase.ENDING, Phase.DELETING, Phase.DELETED)
            assert self.state.ended or self.state.phase in last

    @rule(sure=st.integers(0, 9))
    def ask_to_delete(self, sure: int) -> None:
        if sure == 0:
            self.command(delete(self.state, self.now).state)

    def command(self, after: Experiment) -> None:
        assert after.version in (self.state.version, self.state.version + 1)
        assert (after is self.state) == (after.version == self.state.version)
        self.state = after

    # What the service does ---------------------------------------------------------------------

    @rule(missed=st.sets(st.integers(0, 14)), times=st.integers(1, 3))
    def look(self, missed: set[int], times: int) -> None:
        before, observed = self.state, self.observed(missed)
        after = decide(before, observed, self.now).state
        check_step(before, after)
        for _ in range(times):
            assert decide(after, observed, self.now).state is after
        self.state = after
        self.written &= {int(index) for index in after.closing}

    def observed(self, missed: set[int]) -> Observed:
        keys = {int(index): (int(index), it.attempt) for index, it in self.state.open.items()}
        seen: Mapping[int, tuple[int, int]] = {
            index: key for index, key in keys.items() if key in self.runs and index not in missed
        }
        return Observed(
            runs={index: self.runs[key] for index, key in seen.items()},
            observations={
                index: SeenObservation(metrics=summary(self.losses[key]))
                for index, key in seen.items()
                if key in self.losses
            },
            answers=self.answers,
            settled=frozenset(self.written),
        )

    @invariant()
    def the_books_balance(self) -> None:
        state = self.state
        assert state.counts.closed == state.finished
        assert state.finished + len(state.open) == state.next_index
        assert not state.open.keys() & state.closing.keys()
        assert len({event.type for event in state.outbox}) == len(state.outbox)
        assert len({event.id for event in state.outbox}) == len(state.outbox)
        assert sum(it.got is None for it in state.requests) <= 1
        if state.phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.DELETED):
            assert not state.open
            assert not state.closing
            assert not state.active


def check_step(before: Experiment, after: Experiment) -> None:
    if before.ended or before.phase is Phase.DELETED:
        assert after is before
        return
    assert (after is before) == (after.version == before.version)
    assert after.version <= before.version + 1
    opened = after.open.keys() - before.open.keys()
    if opened:
        assert len(after.open) <= after.spec.parallel_trial_count
        assert after.next_index <= (after.spec.max_trial_count or 0)
        assert {int(index) for index in opened} == set(range(before.next_index, after.next_index))
    closed = after.closing.keys() - before.closing.keys()
    numbers = sorted(after.closing[index].finished for index in closed)
    assert numbers == list(range(before.finished + 1, after.finished + 1))
    assert closed <= before.open.keys()


TestLiving = Living.TestCase
TestLiving.settings = settings(max_examples=60, stateful_step_count=60)
