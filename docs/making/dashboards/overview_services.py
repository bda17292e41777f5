"""Rate, errors and duration of the services, the bus and the store, and how full they are."""

from making.dashboards.panels import Panel, Query, Row, Unit, line, slowest
from making.dashboards.queries import (
    CPU,
    MOST_FILES,
    OPEN_FILES,
    RESIDENT,
    STARTED_AT,
    changed,
    highest,
    level,
    quantile,
    rate,
    share,
    zero_without,
)
from trialbus.runtime import metrics

# Answers that are the server's fault, not the caller's.
_HTTP_FAULTS = "5.."
_GRPC_FAULTS = "UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS"

SERVICES = Row(
    "Services: rate, errors, duration",
    [
        Panel(
            title="Groups of messages handled, by service",
            about="The work of each service: from taking a group of hints to its commit. Zero "
            "while experiments run: that service is stuck, see its log and its lag.",
            queries=line(rate(metrics.GROUPS, "service"), "{{service}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Handling that failed and is tried again, by service and error",
            about="Good: none, but for moments in which the bus or the store is restarted. Each is "
            "logged with the experiment and the error.",
            queries=line(rate(metrics.FAILURES, "service", "error"), "{{service}}: {{error}}"),
            unit=Unit.PER_S,
            worse=0.1,
        ),
        Panel(
            title="How long handling takes, by service (p99)",
            about="Good: under 0.1 s. Above: the store is slow (its row), or the process is full "
            "(event loop).",
            queries=slowest(metrics.GROUPS, "service"),
            unit=Unit.SECONDS,
            worse=0.3,
            bad=1,
        ),
        Panel(
            title="How long an event takes to reach a service (p99)",
            about="From the event's own time to its being taken in. Good: under 0.1 s. Above: lag "
            "of this service, an outbox that is not emptied, or clocks that differ.",
            queries=slowest(metrics.HINT_DELAY, "service"),
            unit=Unit.SECONDS,
            worse=0.3,
            bad=1,
        ),
        Panel(
            title="Hints taken in, by service and source",
            about="Wake-ups from the bus, and from the sweep that repeats what was lost. Nearly "
            "all from the sweep: the bus does not deliver.",
            queries=line(rate(metrics.HINTS, "service", "source"), "{{service}} by {{source}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Commands, by outcome",
            about="What users and pipelines asked for. `refused` has its reasons in the answer; "
            "many `repeated` are clients that try again because answers come late.",
            queries=line(rate(metrics.COMMANDS, "outcome"), "{{outcome}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="HTTP requests, by route",
            about="The load on the gateway, without events and streams that stay open.",
            queries=line(rate(metrics.HTTP, "route"), "{{route}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="HTTP requests that failed in the gateway",
            about="The share of answers with 5xx. Good: 0. Each is logged with its request; 503 "
            "says that the bus or the store is away.",
            queries=line(
                share(zero_without(rate(metrics.HTTP, code=_HTTP_FAULTS)), rate(metrics.HTTP)),
                "5xx",
            ),
            unit=Unit.SHARE,
            worse=0.001,
            bad=0.01,
        ),
        Panel(
            title="How long HTTP requests take, by route (p99)",
            about="To the first byte of the answer. Good: under 0.3 s, but for calls that wait on "
            "purpose: asking for trials, streams.",
            queries=slowest(metrics.HTTP, "route"),
            unit=Unit.SECONDS,
            worse=1,
        ),
        Panel(
            title="gRPC calls, by method",
            about="Katib's interfaces, and workers that ask over gRPC.",
            queries=line(rate(metrics.GRPC, "method"), "{{method}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="gRPC calls that failed in trialbus, by method and code",
            about="Good: none. UNAVAILABLE: a service behind the gateway is down.",
            queries=line(
                rate(metrics.GRPC, "method", "code", code=_GRPC_FAULTS), "{{method}}: {{code}}"
            ),
            unit=Unit.PER_S,
            worse=0.001,
        ),
        Panel(
            title="How long gRPC calls take, by method (p99)",
            about="Good: under 0.3 s, but for GetSuggestions, which takes what its algorithm does.",
            queries=slowest(metrics.GRPC, "method"),
            unit=Unit.SECONDS,
            worse=1,
        ),
    ],
)

BUS = Row(
    "The bus",
    [
        Panel(
            title="Lag: messages waiting in the stream, by service",
            about="Good: near 0, back to it after a burst. Growing: this service is too slow: see "
            "its event loop and the store, then add replicas.",
            queries=line(level(metrics.CONSUMER_PENDING, "service"), "{{service}}"),
            unit=Unit.COUNT,
            worse=1000,
            bad=10000,
        ),
        Panel(
            title="Messages given out and not acknowledged, by service",
            about="Good: some dozens. Constant and high: a process holds messages that it does "
            "not come to the end of.",
            queries=line(level(metrics.CONSUMER_IN_HAND, "service"), "{{service}}"),
            unit=Unit.COUNT,
        ),
        Panel(
            title="Messages that came again, by service",
            about="Redeliveries, because an answer was missing in time. Good: none, but for "
            "restarts. Constant: handling takes longer than the bus waits.",
            queries=line(rate(metrics.REDELIVERIES, "service"), "{{service}}"),
            unit=Unit.PER_S,
            worse=1,
        ),
        Panel(
            title="Events waiting to be published, by service",
            about="Outboxes. Good: near 0. Growing: nats-server is away or its disk is full.",
            queries=line(level(metrics.OUTBOX_EVENTS, "service"), "{{service}}"),
            unit=Unit.COUNT,
            worse=1000,
        ),
        Panel(
            title="How long the oldest of these has been waiting, by service",
            about="Good: under 1 s.",
            queries=line(highest(metrics.OUTBOX_AGE, "service"), "{{service}}"),
            unit=Unit.SECONDS,
            worse=5,
            bad=60,
        ),
        Panel(
            title="Events published, by service",
            about="What the stream has taken.",
            queries=line(rate(metrics.PUBLISHED, "service"), "{{service}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Dead letters and stale messages, by service",
            about="Dead letters can never be handled: good is none, each is in the dead-letter "
            "stream with its reason. Stale ones are words of older attempts or deleted "
            "experiments: few are normal.",
            queries=[
                Query(rate(metrics.DEAD_LETTERS, "service"), "{{service}}: dead letters"),
                Query(rate(metrics.STALE, "service"), "{{service}}: stale"),
            ],
            unit=Unit.PER_S,
        ),
        Panel(
            title="How long requests between services take, by kind (p99)",
            about="Commands and chunks of metrics, answered after their commit. Good: under 0.3 s.",
            queries=slowest(metrics.REQUESTS, "kind"),
            unit=Unit.SECONDS,
            worse=1,
            bad=5,
        ),
        Panel(
            title="Requests between services, and those without an answer",
            about="Good: none without an answer. It says which service is away or too slow; who "
            "asked tries again.",
            queries=[
                Query(rate(metrics.REQUESTS, "kind"), "{{kind}}"),
                Query(rate(metrics.REQUEST_FAILURES, "kind"), "{{kind}}: no answer"),
            ],
            unit=Unit.PER_S,
        ),
        Panel(
            title="How long a service takes for others' requests, by kind (p99)",
            about="From taking a group of requests to their answers. Far less than what the asker "
            "sees: requests wait in front of the service.",
            queries=slowest(metrics.SERVED, "kind"),
            unit=Unit.SECONDS,
            worse=1,
        ),
        Panel(
            title="Connections to the bus made again, by service",
            about="Good: none. More: nats-server was restarted, or the network fails.",
            queries=line(rate(metrics.RECONNECTS, "service"), "{{service}}"),
            unit=Unit.PER_S,
        ),
    ],
)

STORE = Row(
    "The store",
    [
        Panel(
            title="Calls of MongoDB, by operation",
            about="The load on the store. `find` far above `commit`: many clients read.",
            queries=line(rate(metrics.STORE, "operation"), "{{operation}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Calls that MongoDB did not answer in time, by operation",
            about="Good: none. More: MongoDB is away, elects a primary, or its disk is full.",
            queries=line(rate(metrics.STORE_FAILURES, "operation"), "{{operation}}"),
            unit=Unit.PER_S,
            worse=0.001,
        ),
        Panel(
            title="How long MongoDB takes, by operation (p99)",
            about="Good: under 0.1 s. Above: its disk is slow or shared, memory is short, or one "
            "node does everything: look at MongoDB itself.",
            queries=slowest(metrics.STORE, "operation"),
            unit=Unit.SECONDS,
            worse=0.3,
            bad=1,
        ),
        Panel(
            title="Documents written, by collection",
            about="What costs the disk. Seven a process trial at the most.",
            queries=line(rate(metrics.STORE_WRITES, "collection"), "{{collection}}"),
            unit=Unit.PER_S,
            stacked=True,
        ),
        Panel(
            title="Lost races for a document, by service",
            about="Compare-and-set conflicts: two replicas looked at the same experiment. They "
            "cost time and harm nothing. Many with one replica are a fault: tell us.",
            queries=line(rate(metrics.CONFLICTS, "service"), "{{service}}"),
            unit=Unit.PER_S,
            worse=10,
        ),
        Panel(
            title="What the sweep had to repair, by service",
            about="Events left behind by a process that is gone, and experiments that no message "
            "had told of. Good: none; some after a crash. Constant: messages get lost.",
            queries=line(rate(metrics.SWEEP_REPAIRS, "service", "what"), "{{service}}: {{what}}"),
            unit=Unit.PER_S,
        ),
    ],
)

SATURATION = Row(
    "How full the processes are",
    [
        Panel(
            title="Delay of the event loop, by service (p99)",
            about="How much later than due a process comes to its tasks. Good: under 0.05 s. "
            "Above: it is full: add replicas, or give it a core.",
            queries=[Query(quantile(0.99, metrics.LOOP_DELAY, "service"), "{{service}}")],
            unit=Unit.SECONDS,
            worse=0.1,
            bad=0.3,
        ),
        Panel(
            title="Processor cores used, by service",
            about="A process uses one core at the most (suggestion more: it computes in processes "
            "of its own, which are not counted here). Near 1: it is full.",
            queries=line(rate(CPU, "service"), "{{service}}"),
            unit=Unit.COUNT,
            worse=0.8,
        ),
        Panel(
            title="Memory, by service",
            about="Resident bytes. Good: flat after the first hour. Steady growth is a leak: tell "
            "us with the version.",
            queries=line(level(RESIDENT, "service"), "{{service}}"),
            unit=Unit.BYTES,
        ),
        Panel(
            title="Experiments waiting in the process, by service",
            about="With hints and not looked at yet. Good: near 0.",
            queries=line(level(metrics.HINTS_WAITING, "service"), "{{service}}"),
            unit=Unit.COUNT,
            worse=100,
        ),
        Panel(
            title="Open files and connections, of those allowed",
            about="Good: under half. Near 1: raise the limit (`ulimit -n`), or find who keeps "
            "streams open.",
            queries=line(
                share(level(OPEN_FILES, "service"), level(MOST_FILES, "service")), "{{service}}"
            ),
            unit=Unit.SHARE,
            worse=0.5,
            bad=0.9,
        ),
        Panel(
            title="Restarts in the time shown, by service",
            about="Good: 0. On one machine the supervisor restarts a service that dies, on a "
            "cluster Kubernetes does; its log says why.",
            queries=line(changed(STARTED_AT, "service"), "{{service}}"),
            unit=Unit.COUNT,
            worse=1,
        ),
    ],
)

DOORS = Row(
    "The gateway's doors, and what it tells outside",
    [
        Panel(
            title="Requests that the door did not let in, by reason",
            about="`unauthenticated` and `forbidden`: wrong or missing tokens; `rate` and `size`: "
            "the limits. A burst of unauthenticated: a token has expired somewhere.",
            queries=line(rate(metrics.DOOR_REFUSALS, "reason"), "{{reason}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Open streams, and requests being answered",
            about="Followers of events, watchers and readers of logs. Requests that stay high "
            "while few come: the gateway is stuck behind the store.",
            queries=[
                Query(level(metrics.STREAMS, "kind"), "{{kind}}"),
                Query(level(metrics.HTTP_IN_FLIGHT), "requests"),
            ],
            unit=Unit.COUNT,
        ),
        Panel(
            title="Deliveries to webhooks, by outcome",
            about="`failed` is tried again for a day, `given_up` is lost to the receiver: it is "
            "away or answers with an error.",
            queries=line(rate(metrics.WEBHOOK_ATTEMPTS, "outcome"), "{{outcome}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Events waiting for a webhook",
            about="Good: near 0. Growing: a receiver is slow or away.",
            queries=line(level(metrics.WEBHOOK_WAITING), "waiting"),
            unit=Unit.COUNT,
            worse=1000,
        ),
        Panel(
            title="How long a custom resource's status takes to follow",
            about="On a cluster. Good: under 1 s. Above: the API server is slow or limits us.",
            queries=[
                Query(quantile(0.5, metrics.RESOURCE_SYNC), "p50"),
                Query(quantile(0.99, metrics.RESOURCE_SYNC), "p99", exemplars=True),
            ],
            unit=Unit.SECONDS,
            worse=3,
        ),
        Panel(
            title="Custom resources that could not be brought in step",
            about="On a cluster. Good: none. Permissions or definitions of an older release: "
            "`trialbus doctor` says which.",
            queries=line(rate(metrics.RESOURCE_FAILURES), "failures"),
            unit=Unit.PER_S,
            worse=0.01,
        ),
    ],
)
