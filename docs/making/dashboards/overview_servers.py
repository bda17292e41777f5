"""The bus and the store, as the services meet them: rate, errors and duration."""

from making.dashboards.panels import Panel, Query, Row, Unit, line, slowest
from making.dashboards.queries import highest, level, rate
from trialbus.runtime import metrics

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
            about="Redeliveries, and those that the service asked for because a try failed. "
            "Good: none, but for restarts. More than asked for: handling takes longer than the bus "
            "waits.",
            queries=[
                *line(rate(metrics.REDELIVERIES, "service"), "{{service}}"),
                *line(rate(metrics.RETRIES_ASKED, "service"), "{{service}}, asked for"),
            ],
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
