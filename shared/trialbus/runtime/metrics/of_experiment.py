"""Metrics of the experiment service: what there is, what waits, how it ends; and Katib's own."""

from trialbus.runtime import metric_labels as labels
from trialbus.runtime.metric import WAIT_S, Metric, MetricsOf

_EXPERIMENT = MetricsOf("experiment")


def _katib(name: str, meaning: str) -> Metric:
    return _EXPERIMENT.counter(f"katib_{name}_total", meaning, labels.NAMESPACE)


EXPERIMENTS = _EXPERIMENT.gauge(
    "trialbus_experiments", "Experiments in the store.", labels.EXPERIMENT_STATE, shared=True
)
TRIALS = _EXPERIMENT.gauge(
    "trialbus_trials",
    "Trials of the experiments that are not deleted.",
    labels.TRIAL_STATE,
    shared=True,
)
STALLED = _EXPERIMENT.gauge(
    "trialbus_stalled_experiments",
    "Living experiments that wait longer than they should, and say so.",
    labels.STALL,
    shared=True,
)
OLDEST_STALL = _EXPERIMENT.gauge(
    "trialbus_stalled_oldest_seconds",
    "For how long the first of these has been saying so; 0: none.",
    shared=True,
)
OLDEST_WAIT = _EXPERIMENT.gauge(
    "trialbus_oldest_wait_seconds",
    "For how long the first of what living experiments wait for has been awaited; 0: nothing is.",
    labels.AWAITED,
    shared=True,
)
FAILING = _EXPERIMENT.gauge(
    "trialbus_failing_experiments",
    "Living experiments that go on though most of their last trials failed or told no objective: "
    "judged each time that 10 more have ended, at first by all that have.",
    shared=True,
)
SILENT_TRIALS = _EXPERIMENT.gauge(
    "trialbus_silent_trials",
    "Running trials that have reported no metric for 10 minutes or longer. Programs that report "
    "only at their end are among them.",
    shared=True,
)
OLDEST_SILENCE = _EXPERIMENT.gauge(
    "trialbus_silent_oldest_seconds",
    "For how long the one of these that is silent longest has reported nothing; 0: there is none.",
    shared=True,
)
POINTS_AHEAD = _EXPERIMENT.gauge(
    "trialbus_points_ahead",
    "Points of living experiments that are drawn and no trial yet.",
    shared=True,
)
COMMANDS = _EXPERIMENT.counter(
    "trialbus_commands_total",
    "Commands that were answered; without dry runs.",
    labels.COMMAND,
    labels.COMMAND_OUTCOME,
)
EXPERIMENTS_ENDED = _EXPERIMENT.counter(
    "trialbus_experiments_ended_total",
    "Experiments that ended; again at the end of one that was restarted.",
    labels.EXPERIMENT_OUTCOME,
)
TRIALS_OPENED = _EXPERIMENT.counter(
    "trialbus_trials_opened_total", "Trials that were opened; imported ones were not."
)
TRIALS_ENDED = _EXPERIMENT.counter(
    "trialbus_trials_ended_total", "Trials that ended; imported ones had.", labels.TRIAL_OUTCOME
)
ATTEMPTS_LOST = _EXPERIMENT.counter(
    "trialbus_attempts_lost_total",
    "Attempts that left no result though nobody wanted them stopped; the trial goes on as the next "
    "one while it may.",
)
TRIAL_SECONDS = _EXPERIMENT.counter(
    "trialbus_trial_seconds_total",
    "Time that ended attempts ran, lost ones too: what is paid for.",
    labels.ATTEMPT_OUTCOME,
)
TRIAL_COUNTED = _EXPERIMENT.seconds(
    "trialbus_trial_counting_seconds",
    "From the end of a trial's last attempt to the commit that counts the trial.",
    buckets=WAIT_S,
)
NEXT_START = _EXPERIMENT.seconds(
    "trialbus_next_trial_seconds",
    "From the commit that counts a trial to the opening of the one that takes its place: 0 where "
    "that is the same commit. Places that the algorithm leaves empty until more trials have ended "
    "are left out.",
    labels.ALGORITHM,
    buckets=WAIT_S,
)
# Katib's own names: panels that were made for it go on.
KATIB_EXPERIMENT_CREATED = _katib("experiment_created", "Experiments created.")
KATIB_EXPERIMENT_DELETED = _katib("experiment_deleted", "Experiments deleted.")
KATIB_EXPERIMENT_SUCCEEDED = _katib("experiment_succeeded", "Experiments succeeded.")
KATIB_EXPERIMENT_FAILED = _katib("experiment_failed", "Experiments failed.")
KATIB_TRIAL_CREATED = _katib("trial_created", "Trials created.")
KATIB_TRIAL_DELETED = _katib("trial_deleted", "Trials deleted: with their experiment.")
KATIB_TRIAL_SUCCEEDED = _katib("trial_succeeded", "Trials succeeded.")
KATIB_TRIAL_FAILED = _katib("trial_failed", "Trials failed.")
KATIB_TRIAL_METRICS_UNAVAILABLE = _katib(
    "trial_metrics_unavailable", "Trials without their objective."
)
KATIB_EXPERIMENTS = _EXPERIMENT.gauge(
    "katib_experiments_current",
    "Experiments by their newest condition.",
    labels.NAMESPACE,
    labels.STATUS,
    shared=True,
)
KATIB_TRIALS = _EXPERIMENT.gauge(
    "katib_trials_current",
    "Trials by their newest condition.",
    labels.NAMESPACE,
    labels.STATUS,
    shared=True,
)
