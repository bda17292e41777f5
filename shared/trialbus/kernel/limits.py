"""Every limit and deadline of the system, with its unit and its reason.

Those that an operator may change are fields of `trialbus.runtime.settings`, with these defaults.
"""

# Waiting -------------------------------------------------------------------------------------
# A lost hint costs at most one sweep; a sweep reads one index, so it is cheap.
SWEEP_INTERVAL_S = 2.0
# The suggestion service has not answered: the condition says so; it is asked again by the sweep.
SUGGESTION_DEADLINE_S = 60.0
# A trial was opened but no launcher took it.
LAUNCH_DEADLINE_S = 60.0
# A run has ended but its last metric chunk is not stored: MetricsUnavailable, with this reason.
OBSERVATION_DEADLINE_S = 60.0
# A run without `activeDeadlineSeconds` may compute for ever: no default limit on user code.
# SIGTERM, then this long, then SIGKILL of the process group.
KILL_GRACE_S = 10.0
# One command or metric chunk over the bus; the sender repeats with the same id.
REQUEST_TIMEOUT_S = 5.0
# A message whose handler died is given out again after this long.
ACK_WAIT_S = 30.0
# Draining at SIGTERM: finish what is in hand, then leave.
DRAIN_DEADLINE_S = 10.0

# Budgets -------------------------------------------------------------------------------------
# Losses of infrastructure (reboot, killed wrapper) are retried on a budget of their own.
MAX_LOST_ATTEMPTS = 3
DEFAULT_PARALLEL_TRIAL_COUNT = 3
# Points drawn ahead by an algorithm that does not look at results.
FREE_AHEAD_FACTOR = 4
FREE_AHEAD_MIN_POINTS = 8
FREE_AHEAD_MAX_POINTS = 256
# Outstanding or unread suggestion requests on one experiment document.
MAX_OPEN_REQUESTS = 8

# Messages ------------------------------------------------------------------------------------
MAX_DELIVERIES = 8
PARTITIONS = 16
FETCH_MESSAGES = 256
# Messages stay for replays by people; the store, not the stream, is the truth.
EVENT_RETENTION_S = 7 * 24 * 3600.0
DEAD_LETTER_RETENTION_S = 30 * 24 * 3600.0
DEDUPLICATION_WINDOW_S = 600.0
MAX_PAYLOAD_BYTES = 256 * 1024
# A full outbox starts no new trial (condition BusUnavailable).
MAX_OUTBOX_EVENTS = 64
# Sent entries of an idle document are cleared after this long.
OUTBOX_IDLE_S = 1.0
MAX_COMMIT_RETRIES = 8

# Metrics -------------------------------------------------------------------------------------
MAX_LINE_BYTES = 64 * 1024
# Under a user's own metric filter: Python backtracks, so a line's cost may grow with its square.
MAX_FILTERED_LINE_BYTES = 16 * 1024
# Steps of one trial that stopping rules look at: 10,000 floats are a document of 90 KB.
MAX_EVIDENCE_STEPS = 10_000
MAX_CHUNK_POINTS = 1000
# How often a running trial's output is looked at: a reported line is stored well under 1 s.
TAIL_INTERVAL_S = 0.2
READ_BLOCK_BYTES = 1024 * 1024

# What people see -----------------------------------------------------------------------------
LOG_TAIL_BYTES = 4096
MAX_MESSAGE_CHARS = 1024
MAX_STATUS_NAMES = 1000
MAX_PAGE_ITEMS = 500

# Input ---------------------------------------------------------------------------------------
MAX_YAML_NODES = 10_000
MAX_YAML_BYTES = 1024 * 1024
MAX_YAML_DEPTH = 100
MAX_EXPERIMENT_NAME_CHARS = 40

# Retention -----------------------------------------------------------------------------------
# Finished experiments, with trials and metrics; 0 keeps them for ever.
FINISHED_RETENTION_S = 30 * 24 * 3600.0
DELETED_RETENTION_S = 24 * 3600.0
