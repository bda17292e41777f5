"""The operator's first look: is it healthy, and if not, where and why."""

from making.dashboards.overview_servers import BUS, STORE
from making.dashboards.overview_services import DOORS, SATURATION, SERVICES
from making.dashboards.panels import OPERATED, Board, Look, Panel, Row, Unit, figure, line
from making.dashboards.promises import PROMISED
from making.dashboards.queries import (
    UP,
    Without,
    alerts,
    grown,
    held_highest,
    held_level,
    how_many,
    level,
    rate,
    share,
    zero_without,
)
from making.rules.promises import PROBES
from trialbus.runtime import metrics

UID = "trialbus-overview"


# As it is promised.
_WORKED = Without("|".join(PROBES))
_FAULTY = share(
    zero_without(grown(metrics.HTTP, route=_WORKED, code="5..")),
    grown(metrics.HTTP, route=_WORKED),
)

HEALTH = Row(
    "Is it healthy?",
    [
        figure(
            "Alerts that fire",
            "Good: 0. Those that fire are in the table below; each has its section in the runbook "
            "(docs/operations/runbook.md).",
            f"count({alerts('firing')}) or vector(0)",
            Unit.COUNT,
            bad=1,
            width=6,
        ),
        figure(
            "Processes that do not answer",
            "Services whose metrics could not be fetched. Good: 0. Otherwise look at the log of "
            "the process: it is down, or too full to answer.",
            how_many(UP, "== 0"),
            Unit.COUNT,
            bad=1,
            width=6,
        ),
        figure(
            "Processes that are not ready",
            "Services that say that they cannot work: mostly because of the bus or the store. "
            "Good: 0. `/readyz` of the process says what it waits for.",
            how_many(metrics.READY, "== 0"),
            Unit.COUNT,
            bad=1,
            width=6,
        ),
        figure(
            "Stalled experiments",
            "Experiments that wait longer than they should. Good: 0. The panel below has the "
            "reasons, `trialbus explain` those of one experiment. While no experiment service "
            "answers: as it told last, for 15 minutes, then no data.",
            held_level(metrics.STALLED),
            Unit.COUNT,
            worse=1,
            width=6,
        ),
        figure(
            "Oldest stall",
            "For how long the longest of these has been waiting. Good: 0.",
            held_highest(metrics.OLDEST_STALL),
            Unit.SECONDS,
            worse=60,
            bad=600,
            width=6,
        ),
        figure(
            "Dead letters",
            "Messages in the time shown that can never be handled. Good: 0. The log of the "
            "service says which; what came over a stream is in the dead-letter stream, too.",
            grown(metrics.DEAD_LETTERS),
            Unit.COUNT,
            bad=0.5,
            width=6,
        ),
        figure(
            "Messages waiting in the stream",
            "The lag of all services. Good: near 0, and falling after a burst. If it grows, the "
            "row on the bus says whose it is.",
            level(metrics.CONSUMER_PENDING),
            Unit.COUNT,
            worse=1000,
            bad=10000,
            width=6,
        ),
        figure(
            "Requests that the gateway answered",
            "Other than by 5xx, in the time shown, without probes and scrapes. Promised: 99.9 %. "
            "Below: the row on the services says which; 503 is the bus or the store.",
            f"1 - {_FAULTY}",
            Unit.SHARE,
            worse=0.999,
            bad=0.99,
            less_is_bad=True,
            width=6,
        ),
        Panel(
            title="Trials that ended, by outcome",
            about="How much work gets done. A growing part of Failed or MetricsUnavailable is "
            "mostly the users' code: `trialbus explain` of one of them says what it printed last.",
            queries=line(rate(metrics.TRIALS_ENDED, "outcome"), "{{outcome}}"),
            unit=Unit.PER_S,
            stacked=True,
        ),
        Panel(
            title="Why experiments are stalled",
            about="Living experiments that wait longer than they should, by the reason in their "
            "conditions: SuggestionStalled (row of algorithms), LaunchStalled (the launcher), "
            "WorkersMissing (nobody asks for trials), BusUnavailable (nats-server). Good: none.",
            queries=line(held_level(metrics.STALLED, "reason"), "{{reason}}"),
            unit=Unit.COUNT,
            stacked=True,
        ),
        Panel(
            title="For how long experiments have been waiting, by what for",
            about="The longest wait for points (suggestion), for a launcher, or for a worker. "
            "It grows before an experiment says that it is stalled. Good: seconds.",
            queries=line(held_highest(metrics.OLDEST_WAIT, "awaited"), "{{awaited}}"),
            unit=Unit.SECONDS,
            worse=60,
        ),
        Panel(
            title="Alerts that fire, or are about to",
            about="`pending` becomes `firing` if it lasts. Each alert has its section in the "
            "runbook (docs/operations/runbook.md). Good: none.",
            queries=line(alerts("firing|pending"), ""),
            unit=Unit.COUNT,
            look=Look.TABLE,
            width=8,
        ),
        Panel(
            title="Experiments most of whose trials fail",
            about="They go on though most of their last trials, 10 or more, failed or told no "
            "objective: one of them is lost among many that do well in the panel of outcomes. "
            "Mostly its owner's code: `trialbus explain` of it has the trials' last words. "
            "Good: none.",
            queries=line(held_level(metrics.FAILING), "experiments"),
            unit=Unit.COUNT,
            worse=1,
        ),
        Panel(
            title="Running trials that report nothing",
            about="For 10 minutes or longer. Programs that report only at their end belong to "
            "them; more than those: trials hang. `trialbus get trials -e EXPERIMENT` says which "
            "run, `trialbus logs` their words; `activeDeadlineSeconds` ends what hangs.",
            queries=line(held_level(metrics.SILENT_TRIALS), "trials"),
            unit=Unit.COUNT,
        ),
        Panel(
            title="Longest silence of a running trial",
            about="Of those that report nothing, the one that is silent longest. Far above the "
            "time that a trial takes (dashboard of capacity): it hangs.",
            queries=line(held_highest(metrics.OLDEST_SILENCE), "longest"),
            unit=Unit.SECONDS,
        ),
        Panel(
            title="Experiments, by phase",
            about="All experiments in the store. Created for long: the experiment service does "
            "not come to them.",
            queries=line(level(metrics.EXPERIMENTS, "state"), "{{state}}"),
            unit=Unit.COUNT,
            stacked=True,
        ),
        Panel(
            title="Trials of experiments, by state",
            about="Pending: no attempt of it runs, it waits for a launcher, a node or a worker. "
            "Many for long: the dashboard of capacity says what is short.",
            queries=line(level(metrics.TRIALS, "state", state="Pending|Running"), "{{state}}"),
            unit=Unit.COUNT,
            stacked=True,
        ),
    ],
)

OVERVIEW = Board(
    uid=UID,
    title="Trialbus: overview",
    about="For who operates trialbus: what is slow, stuck or failing, and why. Read from the top; "
    "the first row that is not green has the cause, or the row below it.",
    variables=OPERATED,
    rows=[HEALTH, PROMISED, SERVICES, BUS, STORE, SATURATION, DOORS],
)
