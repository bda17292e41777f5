"""All metrics of trialbus: the set is closed, and this is it.

Labels never hold names of experiments or trials. Every histogram is in seconds. Latencies between
two services are differences of their clocks; on several machines keep these in step.
"""

from trialbus.runtime import metric_labels as labels
from trialbus.runtime.metric import SHORT_S, WAIT_S, Label, Metric, MetricsOf

# Those that have metrics of their own.
SERVICES = frozenset(
    ["experiment", "suggestion", "trial_launcher", "metrics_collector", "early_stopping", "gateway"]
)
_EVERY = MetricsOf()
_EXPERIMENT = MetricsOf("experiment")
_SUGGESTION = MetricsOf("suggestion")
_LAUNCHER = MetricsOf("trial_launcher")
_COLLECTOR = MetricsOf("metrics_collector")
_STOPPING = MetricsOf("early_stopping")
_GATEWAY = MetricsOf("gateway")
_ASKS_THE_CLUSTER = MetricsOf("trial_launcher", "gateway")
_SERVES_GRPC = MetricsOf("gateway", "suggestion", "metrics_collector", "early_stopping")


def _katib(name: str, meaning: str) -> Metric:
    return _EXPERIMENT.counter(f"katib_{name}_total", meaning, labels.NAMESPACE)


# --- Every service: its process, its messages, its commits.
BUILD_INFO = _EVERY.gauge(
    "trialbus_build_info",
    "1, with what is running.",
    Label("service", "name of the service"),
    Label("version", "version of trialbus"),
    Label("python", "version of Python"),
)
READY = _EVERY.gauge("trialbus_ready", "1 while the service can do its work, else 0.")
LOOP_DELAY = _EVERY.seconds(
    "trialbus_event_loop_delay_seconds",
    "How much later than due the event loop came to a task: near 0 unless the process is full.",
    buckets=SHORT_S,
)
GROUPS = _EVERY.seconds(
    "trialbus_group_handling_seconds", "From taking a group of hints to its commit."
)
HINTS = _EVERY.counter(
    "trialbus_hints_total", "Hints taken in.", Label("source", "`bus` or `sweep`", ("bus", "sweep"))
)
HINT_DELAY = _EVERY.seconds(
    "trialbus_hint_delay_seconds",
    "From an event's own time to its being taken in by this service, the first time it comes.",
)
HINTS_WAITING = _EVERY.gauge(
    "trialbus_hints_waiting", "Experiments with hints that this process has and has not looked at."
)
FAILURES = _EVERY.counter(
    "trialbus_handling_failures_total",
    "Experiments whose handling failed and is tried again.",
    Label("error", "the name of the error's class"),
)
CONFLICTS = _EVERY.counter("trialbus_commit_conflicts_total", "Lost compare-and-set races.")
DEAD_LETTERS = _EVERY.counter(
    "trialbus_dead_letters_total",
    "Messages that can never be handled: those in the dead-letter stream, requests that were "
    "refused as unreadable, and events of our own that cannot be published.",
)
STALE = _EVERY.counter(
    "trialbus_stale_messages_total", "Words of older attempts or deleted experiments, dropped."
)
PUBLISHED = _EVERY.counter("trialbus_events_published_total", "Events that the stream has.")
OUTBOX_EVENTS = _EVERY.gauge(
    "trialbus_outbox_events", "Events that wait for the stream in this process."
)
OUTBOX_AGE = _EVERY.gauge(
    "trialbus_outbox_oldest_seconds", "For how long the oldest of these has been waiting; 0: none."
)
SWEEP_REPAIRS = _EVERY.counter(
    "trialbus_sweep_repairs_total",
    "What a sweep found to be done and no message has said, by what it was: nearly none where "
    "nothing fails. A look that changed something is counted with the sweep after it, unless an "
    "older message has come by then.",
    Label(
        "what",
        "`event`: left unpublished by a process that is gone; `experiment`: changed by the "
        "look that only the sweep led to; `webhook`: an end that no event had told a webhook of",
        ("event", "experiment", "webhook"),
    ),
)
CONSUMER_PENDING = _EVERY.gauge(
    "trialbus_consumer_pending_messages",
    "Messages in the stream that this service's consumers have not been given yet: their lag.",
    shared=True,
)
CONSUMER_IN_HAND = _EVERY.gauge(
    "trialbus_consumer_unacknowledged_messages",
    "Messages that this service's consumers were given and have not acknowledged.",
    shared=True,
)
REDELIVERIES = _EVERY.counter(
    "trialbus_redeliveries_total",
    "Messages that came again, asked for or for want of an answer.",
)
RETRIES_ASKED = _EVERY.counter(
    "trialbus_retries_asked_total", "Messages given back to come again later, as a try failed."
)
RECONNECTS = _EVERY.counter(
    "trialbus_bus_reconnects_total", "Connections to nats-server made again."
)
REQUESTS = _EVERY.seconds(
    "trialbus_bus_request_seconds",
    "From asking another service over the bus to its answer.",
    labels.REQUEST_KIND,
)
REQUEST_FAILURES = _EVERY.counter(
    "trialbus_bus_request_failures_total",
    "Requests over the bus without an answer in time.",
    labels.REQUEST_KIND,
)
SERVED = _EVERY.seconds(
    "trialbus_served_seconds",
    "From taking a group of requests of other services to their answers.",
    labels.REQUEST_KIND,
)
STORE = _EVERY.seconds("trialbus_store_seconds", "Calls of MongoDB.", labels.OPERATION)
STORE_FAILURES = _EVERY.counter(
    "trialbus_store_failures_total",
    "Calls of MongoDB that it did not answer in time.",
    labels.OPERATION,
)
STORE_WRITES = _EVERY.counter(
    "trialbus_store_writes_total",
    "Documents written, by collection.",
    Label("collection", "name of the collection"),
)

# --- experiment
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
    "Attempts in this launcher's hand; those of workers are leases, in nobody's.",
    labels.LAUNCH_PLACE,
    Label("state", "`waiting` or `running`", ("waiting", "running")),
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
    "Attempts that this launcher found running and took over.",
    labels.LAUNCH_PLACE,
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

# --- gateway
HTTP = _GATEWAY.seconds(
    "trialbus_http_request_seconds",
    "Requests of the HTTP port, to the first byte of the answer.",
    labels.HTTP_ROUTE,
    labels.HTTP_METHOD,
    labels.HTTP_CODE,
)
HTTP_IN_FLIGHT = _GATEWAY.gauge(
    "trialbus_http_requests_in_flight", "Requests whose answer has not begun."
)
STREAMS = _GATEWAY.gauge(
    "trialbus_streams",
    "Open streams.",
    Label("kind", "`events`, `watch` or `log`", ("events", "watch", "log")),
)
GRPC = _SERVES_GRPC.seconds(
    "trialbus_grpc_request_seconds",
    "Calls of a gRPC port.",
    Label("method", "service and method; `unmatched`: there is none"),
    Label("code", "name of the gRPC status"),
)
DOOR_REFUSALS = _GATEWAY.counter(
    "trialbus_requests_refused_total",
    "Requests that the door did not let in.",
    Label(
        "reason",
        "`unauthenticated`, `forbidden`, `rate` or `size`",
        ("unauthenticated", "forbidden", "rate", "size"),
    ),
)
WEBHOOK_ATTEMPTS = _GATEWAY.counter(
    "trialbus_webhook_attempts_total",
    "Attempts to deliver an event to a webhook, and events given up.",
    Label("outcome", "`delivered`, `failed` or `given_up`", ("delivered", "failed", "given_up")),
)
WEBHOOK_WAITING = _GATEWAY.gauge(
    "trialbus_webhook_events_waiting", "Events that wait for a webhook."
)
RESOURCE_SYNC = _GATEWAY.seconds(
    "trialbus_resource_sync_seconds",
    "From the word of a change in the store to the status of its custom resource.",
)
RESOURCE_FAILURES = _GATEWAY.counter(
    "trialbus_resource_sync_failures_total",
    "Custom resources that could not be brought in step and are tried again.",
)

ALL: tuple[Metric, ...] = tuple(it for it in tuple(globals().values()) if isinstance(it, Metric))
