"""Labels of metrics, with all their values where these are known before."""

from trialbus.contracts.commands import Verb
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.trial import TrialPhase
from trialbus.runtime.metric import Label

# Of whatever comes from outside and is not among the known names.
UNKNOWN = "unknown"
# A trial of an experiment that is not over, by whether an attempt of it runs.
PENDING, RUNNING = "Pending", "Running"
# What became of an attempt after which its trial goes on.
LOST, SUSPENDED = "Lost", "Suspended"

_ENDED = tuple(phase.value for phase in TrialPhase if phase is not TrialPhase.CREATED)

ALGORITHM = Label("algorithm", "name of the algorithm")
PLACE = Label("place", "`process`, `cluster` or `worker`", ("process", "cluster", "worker"))
LAUNCH_PLACE = Label("place", "`process` or `cluster`", ("process", "cluster"))
LAUNCH_FAILURE = Label(
    "reason",
    "`command`: what is to be launched cannot be, its owner's matter; `machine`: what launches it",
    ("command", "machine"),
)
# Not one that shares its file system with one before it, so its values are not known before.
FOLDER = Label(
    "folder",
    "`data` (the stack's own: outputs, logs, and the data of servers that it started); "
    "`checkpoints`, `artifacts`: where these are on a file system of their own",
)
DEATH = Label(
    "reason",
    "`killed`: by SIGKILL, for want of memory mostly; `crashed`: any other end; `stuck`: ended by "
    "us, as it gave no answer in time; `slow`: likewise, as it held up fast algorithms, and is "
    "asked again where slow ones compute; `unstarted`: it could not be started",
    ("killed", "crashed", "stuck", "slow", "unstarted"),
)
NAMESPACE = Label("namespace", "namespace of the experiment; `_other`: beyond the first 500")
STATUS = Label("status", "type of the last condition, as Katib has it")
RULE = Label("rule", "name of the stopping rule")
REQUEST_KIND = Label("kind", "what is asked: the kind of command or chunk")
OPERATION = Label(
    "operation",
    "`get`, `find`, `count`, `commit`, `delete` or `clear_outbox`",
    ("get", "find", "count", "commit", "delete", "clear_outbox"),
)
EXPERIMENT_STATE = Label(
    "state",
    "phase of the experiment",
    tuple(phase.value for phase in ExperimentPhase if phase is not ExperimentPhase.DELETED),
)
EXPERIMENT_OUTCOME = Label("outcome", "`Succeeded` or `Failed`", ("Succeeded", "Failed"))
TRIAL_STATE = Label(
    "state",
    "`Pending` (no attempt runs), `Running`, or the phase that the trial ended in",
    (PENDING, RUNNING, *_ENDED),
)
TRIAL_OUTCOME = Label("outcome", "phase that the trial ended in", _ENDED)
ATTEMPT_OUTCOME = Label(
    "outcome",
    "phase that the trial ended in; `Lost` or `Suspended`: the trial goes on as another attempt",
    (*_ENDED, LOST, SUSPENDED),
)
STALL = Label(
    "reason",
    "reason in the experiment's condition",
    ("BusUnavailable", "LaunchStalled", "SuggestionStalled", "TrialsWaiting", "WorkersMissing"),
)
AWAITED = Label(
    "awaited",
    "`points`: the answer to a request for points; `launch`: a launcher that takes a trial; "
    "`worker`: one that asks for a trial",
    ("points", "launch", "worker"),
)
COMMAND = Label(
    "command",
    "`apply` (which also creates), `edit`, `suspend` and so on; `unknown`: what cannot be read",
    (*(verb.value for verb in Verb), UNKNOWN),
)
COMMAND_OUTCOME = Label(
    "outcome",
    "`done`, `repeated` (the same command again), `stale` (meant another experiment, or another "
    "revision, than is there) or `refused`",
    ("done", "repeated", "stale", "refused"),
)
RUN_OUTCOME = Label(
    "outcome",
    "`succeeded`, `failed`, `stopped` or `lost`",
    ("succeeded", "failed", "stopped", "lost"),
)
POINT_REFUSAL = Label(
    "reason",
    "`stale` (of what is over, or not there), `repeated`, `limit` or `invalid`",
    ("stale", "repeated", "limit", "invalid"),
)
CHUNK_OUTCOME = Label(
    "outcome",
    "`stored`, `repeated`, `gap` (something before it is missing) or `refused`",
    ("stored", "repeated", "gap", "refused"),
)
HTTP_ROUTE = Label(
    "route",
    "the path's pattern; `unmatched`: there is none; `refused`: not let in; `cluster`: passed on "
    "to the API server",
)
HTTP_METHOD = Label("method", "of the request; `other`: none of the usual ones")
HTTP_CODE = Label("code", "status of the answer; `0`: its client left before")
