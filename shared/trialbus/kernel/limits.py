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
# An experiment's events wait for the bus: it opens no trial, and its condition says so.
BUS_DEADLINE_S = 60.0
# A run has ended but its last metric chunk is not stored: MetricsUnavailable, with this reason.
OBSERVATION_DEADLINE_S = 60.0

# A run without `activeDeadlineSeconds` may compute for ever: no default limit on user code.

# SIGTERM, then this long, then SIGKILL of the process group.
KILL_GRACE_S = 10.0
# SIGKILL is repeated this long against processes of a stopped run that fork as fast as they die.
ORPHAN_KILL_DEADLINE_S = 10.0
# One command or metric chunk over the bus; the sender repeats with the same id.
REQUEST_TIMEOUT_S = 5.0
# A gRPC call whose client sets no deadline.
GRPC_DEADLINE_S = 120.0
# A service opens its gRPC port this much later than it begins to work: the first trial comes first.
GRPC_START_DELAY_S = 0.5
# The gateway waits so long for the service that a gRPC call is for: it may be starting again.
GRPC_REACH_DEADLINE_S = 10.0
# A message whose handler died is given out again after this long.
ACK_WAIT_S = 30.0
# Draining at SIGTERM: finish what is in hand, then leave.
DRAIN_DEADLINE_S = 10.0

# Budgets -------------------------------------------------------------------------------------
# Losses of infrastructure (reboot, killed wrapper) are retried on a budget of their own.
MAX_LOST_ATTEMPTS = 3
# Katib's default.
DEFAULT_PARALLEL_TRIAL_COUNT = 3
# Points drawn ahead by an algorithm that does not look at results.
FREE_AHEAD_FACTOR = 4
# At least so many, so that few trials at a time do not mean many requests.
FREE_AHEAD_MIN_POINTS = 8
# At most so many: an answer is one document, and the end drops what is left.
FREE_AHEAD_MAX_POINTS = 256
# Of an algorithm: an answer is one document, which takes 16 MiB.
MAX_ANSWER_BYTES = 4 * 1024**2

# Algorithms ----------------------------------------------------------------------------------
# One answer, or one portion of the past that is told again; then the experiment is refused.
ALGORITHM_DEADLINE_S = 60.0
# As much more of the deadline for each further point: a sixth of a minute, if that is a minute.
FURTHER_POINT_SHARE = 1 / 6
# A worker process has started; longer means that the machine is in trouble, not the algorithm.
WORKER_START_DEADLINE_S = 60.0
# Fewest worker processes that are chosen by cores: some for fast, some for slow algorithms.
MIN_ALGORITHM_PROCESSES = 3
# And most: each holds the numeric libraries, some 100 MB.
MAX_ALGORITHM_PROCESSES = 4
# An experiment with two answers in a row above this computes among the slow ones.
SLOW_ANSWER_S = 0.1
# With so many in a row below half of that it comes back.
FAST_ANSWERS_TO_RETURN = 5
# A computation among the fast ones is stopped after this long, and begins anew among the slow.
FAST_DEADLINE_S = 1.0
# Loading an algorithm's libraries among the fast ones; longer: among the slow.
FAST_LOAD_DEADLINE_S = 10.0
# Trials or points of the past that are told at a time, so that others get their turn between.
HISTORY_PORTION = 500
# Experiments of one worker that have their turn or read their past for it: each past is in memory.
MAX_CONVERSATIONS = 4
# That one process of algorithms remembers; the least used is forgotten, and read again when asked.
MAX_REMEMBERED_EXPERIMENTS = 1_000
# Of all of them together: 5 kB a trial at the most.
MAX_REMEMBERED_TRIALS = 100_000
# Of a point's mark: labels are few and short, and people see them.
MAX_LABELS = 64
# Of one label's name or value.
MAX_LABEL_CHARS = 1024

# Messages ------------------------------------------------------------------------------------
# Of one message; then it is buried as a dead letter, with the reason.
MAX_DELIVERIES = 8
# Beyond those, so that a burial that failed can be tried again; then the bus itself gives up.
BURIAL_DELIVERIES = 8
# Of the event stream, for each service: so many replicas can share the work.
PARTITIONS = 16
# One fetch, one group of commits: more per group gains little, and waits longer.
FETCH_MESSAGES = 256
# Messages stay for replays by people; the store, not the stream, is the truth.
EVENT_RETENTION_S = 7 * 24 * 3600.0
# Longer than events: people look at them, and there are few.
DEAD_LETTER_RETENTION_S = 30 * 24 * 3600.0
# The stream drops a repeated event id for so long; handlers bear repeats anyway.
DEDUPLICATION_WINDOW_S = 600.0
# A quarter of what nats-server takes: what is larger belongs into the store.
MAX_PAYLOAD_BYTES = 256 * 1024
# One gRPC message that is taken: a whole log of a million points, as Katib's collectors report it.
MAX_GRPC_MESSAGE_BYTES = 64 * 1024**2
# Attributes of an event: a dozen headers with names of at most 63 characters.
MAX_HEADER_BYTES = 16 * 1024
# When full, the oldest go: the store is the truth. About a million events.
EVENT_STREAM_BYTES = 1024**3
# When full, the oldest go.
DEAD_LETTER_STREAM_BYTES = 256 * 1024**2
# A publisher repeats with the same id for this long, then the outbox keeps the event.
PUBLISH_DEADLINE_S = 5.0
# Messages without an acknowledgement yet: enough to fill a round trip, little to repeat.
PUBLISH_WINDOW_MESSAGES = 256
# Given out and not answered, per service and partition: four full fetches.
MAX_ACK_PENDING = 1024
# The server has recorded an acknowledgement; else the message comes again.
ACK_TIMEOUT_S = 5.0
# Requests that wait for the group in hand; more are dropped, and their senders repeat.
MAX_WAITING_REQUESTS = 4096
# A full outbox starts no new trial (condition BusUnavailable).
MAX_OUTBOX_EVENTS = 64
# What one event lists of many trials or runs; it always tells how many there are.
MAX_TOLD_ITEMS = 100
# So many of an experiment's first trials are in its trace: nobody reads a longer one.
TRACED_TRIALS = 1000
# Of one run so many of its first metric chunks are in it.
TRACED_CHUNKS = 100
# Whose work one span may be; a group can hold more.
MAX_SPAN_LINKS = 64
# Sent entries of an idle document are cleared after this long.
OUTBOX_IDLE_S = 1.0
# Lost compare-and-set races of one look; then the next hint or sweep looks again.
MAX_COMMIT_RETRIES = 8
# Ids of commands that an experiment has taken: a repeat may come this many commands late.
MAX_REMEMBERED_COMMANDS = 16
# Of one `import` command, which is one message: 512 bytes each, more with many parameters.
MAX_IMPORTED_TRIALS = 500
# That an experiment begins with: as many as a Gaussian process can model, and one document.
MAX_WARM_TRIALS = 1_000
# Of all of them together: with many parameters they are fewer.
MAX_WARM_VALUES = 100_000
# Experiments that one may begin from.
MAX_WARM_SOURCES = 8

# Workers -------------------------------------------------------------------------------------
# Of an asked trial; every word of its worker renews it.
DEFAULT_LEASE_S = 60.0
# Shorter, and a pause of a laptop loses it.
MIN_LEASE_S = 1.0
# Longer, and a dead worker's trial is missing for hours.
MAX_LEASE_S = 24 * 3600.0
# Given out in one answer: with their parameters well below a message.
MAX_ASKED_TRIALS = 256
# Reports, results and so on in one request.
MAX_WORK_ITEMS = 256
# How long an ask may wait for the first trial: below what proxies close.
MAX_ASK_WAIT_S = 30.0
# Lost leases say more of workers (preempted, restarted) than of the trial: more than of runs.
MAX_LOST_LEASES = 20
# Living runs of workers that a launcher remembers, about 2 KB each; others are read when they end.
MAX_REMEMBERED_LEASES = 10_000
# What an experiment has for workers may be so old for who asks: a claim finds out what is taken.
WORK_AGE_S = 0.05
# Ends of asked trials that come so soon after a look wait for the next: one commit for many.
ASKED_REST_S = 0.01
# The document of an asked trial is written when it ends, or after this long.
ASKED_TRIAL_DOCUMENT_S = 1.0

# Metrics -------------------------------------------------------------------------------------
# Longer lines of output are skipped and counted: memory stays small at any length.
MAX_LINE_BYTES = 64 * 1024
# Of a user's own metric filter in one line: each may cost a look at the rest of the line, so all
# together its square. As many `x=1 ` as the longest line holds.
MAX_LINE_MATCHES = 16 * 1024
# Steps of one trial that stopping rules look at: 10,000 floats are a document of 90 KB.
MAX_EVIDENCE_STEPS = 10_000
# Averages that median stopping keeps in memory, over all experiments: 8 bytes each.
MAX_RULE_AVERAGES = 4_000_000
# A stopping rule that computes longer at one time is not asked again: it holds all others.
RULE_DEADLINE_S = 5.0
# Experiments whose completed trials median stopping remembers; others are read again when needed.
MAX_RULES = 256
# Ends of chunk chains that a collector remembers, under 1 KB each; others are read again.
MAX_KNOWN_TAILS = 10_000
# Experiments whose names a service remembers, about 200 bytes each.
MAX_KNOWN_EXPERIMENTS = 10_000
# Namespaces with series of their own in Katib's metrics, about 20 each: 10,000 in a replica.
MAX_TOLD_NAMESPACES = 500
# About 40 KB of JSON: well below a message, and one document for many points.
MAX_CHUNK_POINTS = 1000
# Of a metric's value that is no number: ten times a genotype of DARTS. What is longer is cut, and
# says so.
MAX_TEXT_CHARS = 8 * 1024
# Of all texts in a chunk: in UTF-8 at most half a message.
MAX_CHUNK_TEXT_CHARS = 32 * 1024
# Names of metrics that a trial may push: every chunk carries a summary of each, about 100 bytes.
MAX_RUN_METRICS = 256
# Of a metric: as Katib's database has it.
MAX_METRIC_NAME_CHARS = 255
# A push whose commit failed is repeated under its key for this long; then its sender, who waits no
# longer than for any request, hears of it.
PUSH_DEADLINE_S = 4.0
# How often a running trial's output is looked at: a reported line is stored well under 1 s.
TAIL_INTERVAL_S = 0.2
# How often a running trial's endpoint is asked for its metrics.
SCRAPE_INTERVAL_S = 2.0
# It serves nobody else, so a longer answer means that it hangs.
SCRAPE_TIMEOUT_S = 5.0
# One answer of such an endpoint: parsing more would keep other trials waiting.
MAX_SCRAPE_BYTES = 1024 * 1024
# Of an event file at a time: about 1,000 events.
EVENT_BLOCK_BYTES = 64 * 1024
# A longer record of an event file is passed over: scalars need a hundred bytes.
MAX_EVENT_BYTES = 16 * 1024 * 1024
# Names of other metrics that are told when the objective is missing.
MAX_NAMES_SEEN = 10
# How much of a trial's output or file is looked through for such names.
NAMES_LOOK_BYTES = 256 * 1024
# After its trial a custom collector has this long to report and to end; then it is stopped.
CUSTOM_COLLECTOR_DEADLINE_S = 60.0
# Of a run's output at a time: memory stays small however much is printed.
READ_BLOCK_BYTES = 1024 * 1024

# Runs ----------------------------------------------------------------------------------------
# A run that writes more is stopped (reason OutputLimit): no log is read to there, and a loop that
# prints for ever must not fill the disk under the store. High, because it ends user code.
MAX_OUTPUT_BYTES = 10 * 1024**3

# A cluster -----------------------------------------------------------------------------------
# Of one process: fifty trials a second at six requests each, and a third more; a server that has
# less to give says 429.
CLUSTER_REQUESTS_PER_SECOND = 400.0
# Of one process: as many as keep that rate up at 0.15 s a request.
CLUSTER_REQUESTS_AT_ONCE = 64
# One call of the API server, with waiting for its turn and with repeats after 429.
CLUSTER_CALL_DEADLINE_S = 30.0
# After a 429 that does not say when to come again.
CLUSTER_RETRY_AFTER_S = 1.0
# Which kinds the server knows is asked again after so long.
CLUSTER_DISCOVERY_S = 300.0
# And for a kind that was not there after so long: its definition may have come.
CLUSTER_MISSING_KIND_S = 1.0
# Tokens that Kubernetes gives live an hour and are replaced before; files are cheap to read.
CLUSTER_CREDENTIALS_S = 60.0
# One watch, then the next from where it was; so a connection that died silently is found out.
CLUSTER_WATCH_S = 60.0
# A server ends a watch by itself; this much later we do.
CLUSTER_WATCH_GRACE_S = 5.0
# A followed log that says nothing for so long is taken up anew: its connection may have died.
CLUSTER_LOG_SILENCE_S = 300.0
# Between a watch that failed and the next; doubled each time, with a random part.
CLUSTER_BACKOFF_S = 0.2
# It is doubled up to here: a server that is away is found again soon.
MAX_CLUSTER_BACKOFF_S = 10.0
# A run whose containers cannot be made: images are pulled again and again, but not for ever.
CLUSTER_IMAGE_DEADLINE_S = 600.0
# A Job makes its pod at once; one that has none for so long is told of.
CLUSTER_PODLESS_S = 15.0
# An object that cannot be created for want of permission; who grants it late waits this long.
CLUSTER_CREATE_DEADLINE_S = 600.0
# Without a wrapper's claim an object is created only in its run's first moments: whoever finds none
# later must know that none will come.
CLUSTER_FIRST_CREATE_S = 30.0
# And calls it lost after this long: a server ends its requests after a minute.
CLUSTER_LOST_AFTER_S = 120.0
# Pods that were to go, of a stopped run or by others, and have not: their nodes do not answer.
CLUSTER_STOP_DEADLINE_S = 300.0
# What our labels name but no run does is removed: leftovers of crashes, so they are few.
CLUSTER_ORPHANS_S = 300.0
# The gateway accepts an experiment whose launcher does not answer.
CLUSTER_CHECK_DEADLINE_S = 3.0
# What a launcher found out about a template stays true for so long.
CLUSTER_CHECK_S = 30.0
# Outputs that people read at one moment; each may be as large as a log that a node keeps.
MAX_CLUSTER_LOGS = 4
# Nodes keep 10 MiB of a container's output, then begin a new file.
MAX_CLUSTER_LOG_BYTES = 16 * 1024**2
# Lines that are asked for to find the end of an output.
CLUSTER_TAIL_LINES = 100
# Of a request that the gateway passes on; the API server's own limit.
MAX_CLUSTER_BODY_BYTES = 3 * 1024 * 1024

# What people see -----------------------------------------------------------------------------
# Kept in the run's and the trial's document: enough for the end of a traceback.
LOG_TAIL_BYTES = 4096
# Of a condition or event: a sentence, not a log.
MAX_MESSAGE_CHARS = 1024
# Trial names per list in an Experiment's status: complete up to here, then the newest.
MAX_STATUS_NAMES = 1000
# Objects in one answer of the HTTP API; more come by pages.
MAX_PAGE_ITEMS = 500
# Events of one batch over HTTP: each is a commit of its own, one after the other.
MAX_BATCH_EVENTS = 100
# How long a posted event may wait for its experiment's end; whoever wants to wait longer posts the
# same event again.
MAX_EVENT_WAIT_S = 3600.0

# Input ---------------------------------------------------------------------------------------
# Aliases expand: a page of text can stand for billions of nodes.
MAX_YAML_NODES = 10_000
# As much as Kubernetes takes for one object.
MAX_YAML_BYTES = 1024 * 1024
# Parsers recurse; no experiment is nearly so deep.
MAX_YAML_DEPTH = 100
# Of a JSON body over HTTP: a pod's affinity in a job's template in an event of a batch is 20 deep.
MAX_JSON_DEPTH = 20
# Of such a body: a batch of a hundred whole experiments has about as many.
MAX_JSON_NODES = 20_000

# The gateway's door -----------------------------------------------------------------------------
# Of one identity: a worker that asks and tells a thousand times a second is let through.
REQUESTS_PER_SECOND = 4000.0
# From a connection, or the end of a request, to the end of the next one's head.
HTTP_HEAD_DEADLINE_S = 20.0
# Tokens of some issuers are long; nothing else in a head is.
MAX_HTTP_HEAD_BYTES = 64 * 1024
# Streams and watches of one identity: each holds a connection.
STREAMS_PER_IDENTITY = 256

# Katib's rule: names of trials and their objects are longer, and labels hold 63.
MAX_EXPERIMENT_NAME_CHARS = 40
# Every line of a trial's output is read once for each metric filter.
MAX_METRIC_FORMATS = 100
# Of one metric filter: no real one has a tenth, and each costs a look at every match.
MAX_FORMAT_GROUPS = 100
# Of one refused input: enough to work on, few enough to read and to send.
MAX_PROBLEMS = 100
# Linux takes no longer argument or variable (MAX_ARG_STRLEN, with its closing NUL).
MAX_ARGUMENT_BYTES = 128 * 1024 - 1

# Retention -----------------------------------------------------------------------------------
# Finished experiments, with trials and metrics; 0 keeps them for ever.
FINISHED_RETENTION_S = 30 * 24 * 3600.0
# Tombstones of deleted experiments: late messages must not revive them.
DELETED_RETENTION_S = 24 * 3600.0
# Of a deleted experiment: a write that was decided before its deletion may come this much later,
# so owners remove what they keep of it once more.
LATE_WRITE_S = 60.0

# Signs of life ------------------------------------------------------------------------------
# A service writes so often that it lives: one small document, for all of its replicas together.
HEARTBEAT_S = 10.0
# So long after its last one a service is said to be silent: within a minute, but not for one beat
# that is late, or for clocks that differ by seconds.
SILENCE_S = 35.0
