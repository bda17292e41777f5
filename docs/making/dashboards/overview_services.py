"""Rate, errors and duration of the services, how full they are, and the gateway's doors."""

from making.dashboards.panels import Look, Panel, Query, Row, Unit, line, slowest
from making.dashboards.queries import (
    CPU,
    MOST_FILES,
    OPEN_FILES,
    RESIDENT,
    STARTED_AT,
    Without,
    changed,
    level,
    quantile,
    rate,
    share,
    zero_without,
)
from making.rules.promises import PROBES
from trialbus.runtime import metrics

# Answers that are the server's fault, not the caller's.
_HTTP_FAULTS = "5.."
_WORKED = Without("|".join(PROBES))
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
            about="The share of answers with 5xx, without probes and scrapes. Good: 0. Each is "
            "logged with its request; 503 says that the bus or the store is away.",
            queries=line(
                share(
                    zero_without(rate(metrics.HTTP, route=_WORKED, code=_HTTP_FAULTS)),
                    rate(metrics.HTTP, route=_WORKED),
                ),
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
            look=Look.BARS,
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
        Panel(
            title="Custom resources are not kept",
            about="On a cluster. Good: 0. At 1 the gateway does not know this cluster, and takes "
            "nothing there for deleted: its log says what to do.",
            queries=line(level(metrics.RESOURCES_HALTED), "halted"),
            unit=Unit.COUNT,
            worse=1,
        ),
    ],
)
