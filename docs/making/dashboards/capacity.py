"""Capacity and cost: what is there, what is used, and what for."""

from making.dashboards.panels import (
    OPERATED,
    Board,
    Look,
    Panel,
    Query,
    Row,
    Unit,
    figure,
    latencies,
    line,
    slowest,
)
from making.dashboards.queries import (
    CPU,
    RESIDENT,
    grown,
    highest,
    level,
    lowest,
    quantile,
    rate,
    share,
)
from trialbus.runtime import metrics

_WASTED = "Failed|MetricsUnavailable|Killed|EarlyStopped|Lost"

PLACES = Row(
    "Places for trials",
    [
        figure(
            "Attempts running",
            "Over all launchers and places.",
            level(metrics.RUNS, state="running"),
            Unit.COUNT,
        ),
        figure(
            "Attempts waiting to run",
            "Good: 0, or few for a moment. Always more: processes cannot be spawned, or the "
            "cluster has no room for so many pods; a smaller `parallelTrialCount` helps.",
            level(metrics.RUNS, state="waiting"),
            Unit.COUNT,
            worse=1,
        ),
        figure(
            "Trials that workers hold",
            "Leased to processes that ask for them.",
            level(metrics.LEASES),
            Unit.COUNT,
        ),
        figure(
            "Trials that wait for their attempt",
            "Opened, and none of their attempts runs: for a launcher, a node of the cluster, or "
            "a worker that asks.",
            level(metrics.TRIALS, state="Pending"),
            Unit.COUNT,
        ),
        figure(
            "Attempts lost",
            "In the time shown: they ended without a result and cost their time. Good: 0, but for "
            "machines that are taken away on purpose.",
            grown(metrics.ATTEMPTS_LOST),
            Unit.COUNT,
            worse=0.5,
        ),
        Panel(
            title="Attempts, by place and state",
            about="Where trials run: as processes, as objects of a cluster, at workers.",
            queries=line(level(metrics.RUNS, "place", "state"), "{{place}}: {{state}}"),
            unit=Unit.COUNT,
            stacked=True,
        ),
        Panel(
            title="Attempts that ended, by place and outcome",
            about="`lost` ended without a result: the machine or the worker went away. `failed` is "
            "mostly the users' code.",
            queries=line(rate(metrics.RUNS_ENDED, "place", "outcome"), "{{place}}: {{outcome}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Attempts that could not be launched, by place and reason",
            about="`command`: what the trial wants is not there, or the cluster refuses its object "
            "(`trialbus explain` says why). `machine`, good: none. No more processes, files, disk "
            "or memory; a cluster that does not answer.",
            queries=line(rate(metrics.SPAWN_FAILURES, "place", "reason"), "{{place}}: {{reason}}"),
            unit=Unit.PER_S,
            worse=0.001,
        ),
        Panel(
            title="Leases that ran out, and attempts that were lost",
            about="Workers that let go of a trial without a word, and attempts that are tried "
            "again. Good: none. Many: workers are killed, or do not renew in time.",
            queries=[
                Query(rate(metrics.LEASE_LOSSES), "leases"),
                Query(rate(metrics.ATTEMPTS_LOST), "attempts"),
            ],
            unit=Unit.PER_S,
        ),
        Panel(
            title="Attempts that a launcher took over, by place",
            about="Found running after a restart, or left by a replica that is gone. Few; constant "
            "ones: launchers die. Of several launchers each takes in what the others launch, too.",
            queries=line(rate(metrics.ADOPTIONS, "place"), "{{place}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="From a trial's opening to its launch, and to its running, by place (p99)",
            about="Launch: the wait for a launcher or for a worker that asks. Running: for a "
            "cluster the wait for a node and an image.",
            queries=[
                Query(quantile(0.99, metrics.LAUNCHED, "place"), "{{place}}: launched"),
                Query(quantile(0.99, metrics.STARTED, "place"), "{{place}}: running"),
            ],
            unit=Unit.SECONDS,
        ),
    ],
)

DISK = Row(
    "Room on the disk, on one machine",
    [
        Panel(
            title="Free space, by folder",
            about="Where the stack keeps outputs, logs and, on one machine, the data of its "
            "servers (`data`), and where checkpoints and artifacts lie if that is another disk. "
            "At 0 nothing is written any more. Claims on a cluster: its own metrics.",
            queries=line(
                lowest(metrics.FOLDER_FREE, "folder", "instance"), "{{folder}} at {{instance}}"
            ),
            unit=Unit.BYTES,
            worse=10e9,
            bad=1e9,
            less_is_bad=True,
            width=12,
        ),
        Panel(
            title="Free space, of all there is, by folder",
            about="Good: above a tenth. Below: finished experiments are kept for "
            "`TRIALBUS_FINISHED_RETENTION_S`; checkpoints that nobody needs go with `keep-best`.",
            queries=line(
                share(
                    lowest(metrics.FOLDER_FREE, "folder", "instance"),
                    highest(metrics.FOLDER_SIZE, "folder", "instance"),
                ),
                "{{folder}} at {{instance}}",
            ),
            unit=Unit.SHARE,
            worse=0.1,
            bad=0.05,
            less_is_bad=True,
            width=12,
        ),
    ],
)

COST = Row(
    "What trials cost, and what for",
    [
        Panel(
            title="Places that trials were paid for, by outcome",
            about="Seconds that ended attempts ran, a second: how many places each outcome takes "
            "on average. Lost and Suspended: the trial went on as another attempt.",
            queries=line(rate(metrics.TRIAL_SECONDS, "outcome"), "{{outcome}}"),
            unit=Unit.COUNT,
            stacked=True,
        ),
        Panel(
            title="Time of trials in the time shown, by outcome",
            about="What to pay for, if places cost by the second.",
            queries=line(grown(metrics.TRIAL_SECONDS, "outcome"), "{{outcome}}"),
            unit=Unit.SECONDS,
            look=Look.BARS,
        ),
        Panel(
            title="Part of the time shown that brought no result",
            about="Of attempts that failed, were stopped, killed, lost, or told no objective. "
            "Early stops belong to it: without them it would be more. Above a half: look at "
            "what fails.",
            queries=line(
                share(
                    grown(metrics.TRIAL_SECONDS, outcome=_WASTED),
                    grown(metrics.TRIAL_SECONDS),
                ),
                "without a result",
            ),
            unit=Unit.SHARE,
            look=Look.STAT,
            worse=0.5,
        ),
        Panel(
            title="Trials opened and ended",
            about="Opened above ended for long: trials pile up, or take longer.",
            queries=[
                Query(rate(metrics.TRIALS_OPENED), "opened"),
                Query(rate(metrics.TRIALS_ENDED), "ended"),
            ],
            unit=Unit.PER_S,
        ),
        Panel(
            title="Time of a trial (mean), by outcome",
            about="Time that attempts ran, by trials that ended.",
            queries=line(
                share(
                    rate(metrics.TRIAL_SECONDS, "outcome"), rate(metrics.TRIALS_ENDED, "outcome")
                ),
                "{{outcome}}",
            ),
            unit=Unit.SECONDS,
        ),
        Panel(
            title="Experiments that ended, by outcome",
            about="Failed: more trials failed than `maxFailedTrialCount` allows.",
            queries=line(rate(metrics.EXPERIMENTS_ENDED, "outcome"), "{{outcome}}"),
            unit=Unit.PER_S,
        ),
    ],
)

INPUT = Row(
    "Metrics of trials",
    [
        Panel(
            title="Metric points stored",
            about="50,000 a second and more are possible on two cores.",
            queries=line(rate(metrics.METRIC_POINTS), "points"),
            unit=Unit.PER_S,
            worse=50000,
        ),
        Panel(
            title="Metric points that were not taken, by reason",
            about="`stale`: of an older attempt; `repeated`: told again, harmless; `limit`: a "
            "trial reports more than is kept; `invalid`: no number.",
            queries=line(rate(metrics.METRIC_REFUSED, "reason"), "{{reason}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Chunks of metrics, by outcome",
            about="`gap` is asked for again. Many: a reader lost its place, as after a crash.",
            queries=line(rate(metrics.METRIC_CHUNKS, "outcome"), "{{outcome}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Attempts that ended without all of their metrics",
            about="Good: none. The trial is MetricsUnavailable; its page says what is missing.",
            queries=line(rate(metrics.INCOMPLETE), "attempts"),
            unit=Unit.PER_S,
            worse=0.001,
        ),
    ],
)

OWN = Row(
    "What trialbus itself costs",
    [
        Panel(
            title="Documents written, by trial that ended",
            about="Good: at most 7 for a process trial, 3 for one of a worker. More: edits, "
            "retries, or a fault.",
            queries=line(
                share(rate(metrics.STORE_WRITES), rate(metrics.TRIALS_ENDED)), "documents"
            ),
            unit=Unit.COUNT,
            worse=10,
        ),
        Panel(
            title="Events published, by trial that ended",
            about="What the bus carries of a trial: its public events and wake-ups.",
            queries=line(share(rate(metrics.PUBLISHED), rate(metrics.TRIALS_ENDED)), "events"),
            unit=Unit.COUNT,
        ),
        Panel(
            title="Processor time, by trial that ended",
            about="Of all services together, without nats-server and mongod. About 0.01 s when it "
            "is busy; more per trial when it idles.",
            queries=line(share(rate(CPU), rate(metrics.TRIALS_ENDED)), "services"),
            unit=Unit.SECONDS,
        ),
        Panel(
            title="Processor cores used, by process",
            about="One at the most; near it a process is full.",
            queries=line(rate(CPU, "service", "instance"), "{{service}} at {{instance}}"),
            unit=Unit.COUNT,
            worse=0.8,
        ),
        Panel(
            title="Memory, by process",
            about="Resident bytes. Flat after the first hour; steady growth is a leak.",
            queries=line(level(RESIDENT, "service", "instance"), "{{service}} at {{instance}}"),
            unit=Unit.BYTES,
        ),
        Panel(
            title="Versions that run",
            about="Processes by version of trialbus and Python. More than one version for longer "
            "than an upgrade takes: a part was left behind.",
            queries=line(
                level(metrics.BUILD_INFO, "version", "python"), "{{version}}, Python {{python}}"
            ),
            unit=Unit.COUNT,
        ),
    ],
)

CLUSTER = Row(
    "The cluster",
    [
        Panel(
            title="Requests to the API server, by verb and status",
            about="409 on create is an object that was there already, 404 on delete one that was "
            "gone. 429 and 5xx: it is too much for the API server; 403: a permission is missing.",
            queries=line(rate(metrics.CLUSTER_REQUESTS, "verb", "code"), "{{verb}}: {{code}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="How long requests to the API server take, by verb (p99)",
            about="Good: under 1 s. Above: the API server is full, or slows us down on purpose.",
            queries=slowest(metrics.CLUSTER_REQUESTS, "verb", verb="get|list|create|patch|delete"),
            unit=Unit.SECONDS,
            worse=1,
        ),
        Panel(
            title="How long requests wait for their turn",
            about="The services hold back themselves, so that the API server is not flooded. Good: "
            "under 1 s. Above for long: more trials start and end than the allowed rate bears.",
            queries=latencies(metrics.CLUSTER_WAIT),
            unit=Unit.SECONDS,
            worse=1,
        ),
    ],
)

CAPACITY = Board(
    uid="trialbus-capacity",
    title="Trialbus: capacity and cost",
    about="Which places trials have, what they cost and what for, and what trialbus itself takes.",
    variables=OPERATED,
    rows=[PLACES, DISK, COST, INPUT, OWN, CLUSTER],
    since="now-6h",
)
