"""Metrics of every service: its process, its messages, its commits."""

from trialbus.runtime import metric_labels as labels
from trialbus.runtime.metric import SHORT_S, Label, MetricsOf

_EVERY = MetricsOf()


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
