"""Metrics of what works for trials: suggestion, trial_launcher, metrics_collector,
early_stopping.
"""

from trialbus.runtime import metric_labels as labels
from trialbus.runtime.metric import SHORT_S, WAIT_S, Label, MetricsOf

_SUGGESTION = MetricsOf("suggestion")
_LAUNCHER = MetricsOf("trial_launcher")
_COLLECTOR = MetricsOf("metrics_collector")
_STOPPING = MetricsOf("early_stopping")
_ASKS_THE_CLUSTER = MetricsOf("trial_launcher", "gateway")


# --- suggestion
SUGGESTED = _SUGGESTION.seconds(
    "trialbus_suggestion_seconds",
    "From a request for points to the commit of its answer.",
    labels.ALGORITHM,
    buckets=WAIT_S,
)
ALGORITHM = _SUGGESTION.seconds(
    "trialbus_algorithm_point_seconds",
    "Time of the algorithm itself, by point of its answers: without answers that have no point and "
    "calls that failed. Of one on another server the time of the call.",
    labels.ALGORITHM,
    buckets=SHORT_S,
)
ALGORITHM_QUEUE = _SUGGESTION.seconds(
    "trialbus_algorithm_queue_seconds",
    "Wait for a process to compute in, its start included, of requests that need one.",
)
POINTS = _SUGGESTION.counter("trialbus_points_total", "Points of stored answers.", labels.ALGORITHM)
ALGORITHM_DEATHS = _SUGGESTION.counter(
    "trialbus_algorithm_process_deaths_total",
    "Processes that algorithms compute in that ended before they were told to leave, or did not "
    "start.",
    labels.DEATH,
)
ALGORITHM_FAILURES = _SUGGESTION.counter(
    "trialbus_algorithm_failures_total",
    "Requests that failed because of the algorithm, and their experiments with them.",
    labels.ALGORITHM,
)

# --- trial_launcher
LAUNCHED = _LAUNCHER.seconds(
    "trialbus_trial_launch_seconds",
    "From a trial's opening to the launch of its attempt (a process spawned, an object created, a "
    "lease given).",
    labels.PLACE,
    buckets=WAIT_S,
)
STARTED = _LAUNCHER.seconds(
    "trialbus_trial_start_seconds",
    "From the launch of an attempt to the word that its command runs.",
    Label("place", "`cluster`: elsewhere it runs when it is launched", ("cluster",)),
    buckets=WAIT_S,
)
RUNS = _LAUNCHER.gauge(
    "trialbus_runs",
    "Attempts in the launchers' hands: each has all of its place in hand, whoever began them. "
    "Those of workers are leases, in nobody's.",
    labels.LAUNCH_PLACE,
    Label("state", "`waiting` or `running`", ("waiting", "running")),
    shared=True,
)
RUNS_ENDED = _LAUNCHER.counter(
    "trialbus_runs_ended_total",
    "Attempts that ended.",
    labels.PLACE,
    labels.RUN_OUTCOME,
)
SPAWN_FAILURES = _LAUNCHER.counter(
    "trialbus_spawn_failures_total",
    "Launches that failed: the attempt ends so, or is tried again.",
    labels.LAUNCH_PLACE,
    labels.LAUNCH_FAILURE,
)
ADOPTIONS = _LAUNCHER.counter(
    "trialbus_adoptions_total",
    "Attempts that this launcher found running and took over; of several launchers each takes in "
    "what the others have launched.",
    labels.LAUNCH_PLACE,
)
FOLDER_FREE = _LAUNCHER.gauge(
    "trialbus_folder_free_bytes",
    "Free space where this machine keeps what runs on it; not told on a cluster, nor of URIs.",
    labels.FOLDER,
)
FOLDER_SIZE = _LAUNCHER.gauge(
    "trialbus_folder_size_bytes",
    "What would be free there without any file.",
    labels.FOLDER,
)
LEASES = _LAUNCHER.gauge("trialbus_leases", "Trials that workers hold.", shared=True)
LEASE_LOSSES = _LAUNCHER.counter(
    "trialbus_lease_losses_total", "Trials that workers let go of without a word."
)
INCOMPLETE = _LAUNCHER.counter(
    "trialbus_metrics_incomplete_total", "Attempts that ended without all of their metrics."
)
CLUSTER_REQUESTS = _ASKS_THE_CLUSTER.seconds(
    "trialbus_cluster_request_seconds",
    "Requests to the API server of the cluster, each repeat, too; of what goes on the beginning.",
    Label("verb", "`get`, `list`, `create`, `patch`, `delete`, `watch` or `log`"),
    Label("code", "HTTP status; `0`: no answer"),
)
CLUSTER_WAIT = _ASKS_THE_CLUSTER.seconds(
    "trialbus_cluster_request_wait_seconds",
    "Wait of these for their turn: near 0 unless the service wants to ask faster than it may.",
)

# --- metrics_collector
REPORT_STORED = _COLLECTOR.seconds(
    "trialbus_report_stored_seconds",
    "From the time of a chunk's first point, its line's own if that has one, to its being stored, "
    "as far as it is no history.",
)
METRIC_POINTS = _COLLECTOR.counter("trialbus_metric_points_total", "Metric points stored.")
METRIC_REFUSED = _COLLECTOR.counter(
    "trialbus_metric_points_refused_total",
    "Metric points that were not taken.",
    labels.POINT_REFUSAL,
)
METRIC_CHUNKS = _COLLECTOR.counter(
    "trialbus_metric_chunks_total",
    "Chunks of metrics, and pushes.",
    labels.CHUNK_OUTCOME,
)

# --- early_stopping
STOP_VERDICT = _STOPPING.seconds(
    "trialbus_stop_verdict_seconds",
    "From the time of a reported point to the stored verdict that it led to.",
)
STOP_VERDICTS = _STOPPING.counter(
    "trialbus_stop_verdicts_total",
    "Trials that a rule wanted stopped, one outside included (`SetTrialStatus`).",
    labels.RULE,
)
RULE_FAILURES = _STOPPING.counter(
    "trialbus_stopping_rule_failures_total",
    "Experiments whose stopping rule failed and was left alone.",
    labels.RULE,
)
