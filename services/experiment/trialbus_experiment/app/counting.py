"""What commits have done, as counters and latencies: each is told once, by who won the
compare-and-set, after it. A process that is killed between the two leaves its last ones out."""

from collections.abc import Iterable, Mapping

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.traces import TraceContext, kept
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.clock import Clock
from trialbus.runtime import metrics
from trialbus.runtime.metric import Kind, Metric
from trialbus.runtime.metric_labels import LOST, SUSPENDED
from trialbus.runtime.telemetry import Telemetry
from trialbus_experiment.core.changes import Change, change
from trialbus_experiment.core.places import FreedPlaces
from trialbus_experiment.core.spending import ran_s
from trialbus_experiment.core.told_namespaces import ToldNamespaces

_KATIB_TRIALS: Mapping[TrialPhase, Metric] = {
    TrialPhase.SUCCEEDED: metrics.KATIB_TRIAL_SUCCEEDED,
    TrialPhase.FAILED: metrics.KATIB_TRIAL_FAILED,
    TrialPhase.METRICS_UNAVAILABLE: metrics.KATIB_TRIAL_METRICS_UNAVAILABLE,
}
_KATIB_COUNTERS = tuple(
    it for it in metrics.ALL if it.kind is Kind.COUNTER and it.name.startswith("katib_")
)
_NO_RUNS: Mapping[int, Run] = {}


class Counting:
    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._places = FreedPlaces()
        self._namespaces = ToldNamespaces()

    def committed(
        self, before: Experiment | None, after: Experiment, runs: Mapping[int, Run] = _NO_RUNS
    ) -> None:
        """before: None: it was created. runs: by index, that the decision was made with."""
        if not self._telemetry.measured:
            return
        done = change(before, after)
        self._count_experiment(done)
        self._count_trials(done)
        self._count_attempts(done, runs)
        # Whatever span is current is of a whole group.
        trace = kept(after.traceparent)
        for index, _ in done.closed:
            self._time_counting(runs.get(index), trace)
        for waited_s in self._places.waits_s(done):
            algorithm = after.spec.algorithm.name
            self._telemetry.observe(metrics.NEXT_START, waited_s, trace, algorithm=algorithm)

    def begin(self, namespaces: Iterable[str]) -> None:
        """There are experiments in these: so that the first of what is counted is an increase."""
        for label in {self._namespaces.label(it) for it in sorted(namespaces)}:
            for metric in _KATIB_COUNTERS:
                self._telemetry.add(metric, 0, namespace=label)

    @property
    def remembered(self) -> set[str]:
        """Experiments of which something is kept here until they are forgotten."""
        return self._places.uids

    def forget(self, uid: str) -> None:
        self._places.forget(uid)

    def _count_experiment(self, done: Change) -> None:
        add, namespace = self._telemetry.add, self._namespaces.label(done.after.namespace)
        if done.before is None:
            add(metrics.KATIB_EXPERIMENT_CREATED, namespace=namespace)
        if done.has_ended:
            outcome = done.after.phase.value
            add(metrics.EXPERIMENTS_ENDED, outcome=outcome)
            succeeded = outcome == "Succeeded"
            add(
                metrics.KATIB_EXPERIMENT_SUCCEEDED
                if succeeded
                else metrics.KATIB_EXPERIMENT_FAILED,
                namespace=namespace,
            )
        if done.is_deleted:
            add(metrics.KATIB_EXPERIMENT_DELETED, namespace=namespace)
            add(metrics.KATIB_TRIAL_DELETED, done.after.next_index, namespace=namespace)

    def _count_trials(self, done: Change) -> None:
        """Katib's numbers are of Trial objects, imported ones too."""
        add, namespace = self._telemetry.add, self._namespaces.label(done.after.namespace)
        if done.made:
            add(metrics.KATIB_TRIAL_CREATED, done.made, namespace=namespace)
        if done.opened:
            add(metrics.TRIALS_OPENED, len(done.opened))
        for phase, count in done.counted:
            if phase in _KATIB_TRIALS:
                add(_KATIB_TRIALS[phase], count, namespace=namespace)
        for _, closing in done.closed:
            add(metrics.TRIALS_ENDED, outcome=closing.phase.value)

    def _count_attempts(self, done: Change, runs: Mapping[int, Run]) -> None:
        if done.lost:
            self._telemetry.add(metrics.ATTEMPTS_LOST, done.lost)
        for attempt in done.attempts:
            run = runs.get(attempt.index)
            if run is None:
                continue
            went_on = LOST if run.phase is RunPhase.LOST else SUSPENDED
            outcome = went_on if attempt.phase is None else attempt.phase.value
            paid_s = ran_s(run, self._clock.now())
            self._telemetry.add(metrics.TRIAL_SECONDS, paid_s, outcome=outcome)

    def _time_counting(self, run: Run | None, trace: TraceContext | None) -> None:
        if run is not None and run.phase is RunPhase.FINISHED and run.finished_at is not None:
            waited_s = self._clock.now() - run.finished_at
            self._telemetry.observe(metrics.TRIAL_COUNTED, waited_s, trace)
