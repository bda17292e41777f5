"""Who calls a stack: the kinds, and the names under which their requests are measured."""

from typing import Literal

Kind = Literal[
    "reader",
    "follower",
    "subscriber",
    "applier",
    "tuner",
    "worker-http",
    "worker-nats",
    "pipeline-http",
    "pipeline-nats",
]

# A worker's `ask` waits until there is a trial; what it tells together with the next ask does not.
REQUESTS: dict[Kind, tuple[str, ...]] = {
    "reader": (
        "progress",
        "best trials",
        "page of trials",
        "experiment",
        "page of experiments",
        "explain",
    ),
    "follower": ("stream opened", "event streamed"),
    "subscriber": ("event over NATS",),
    "applier": ("apply", "apply again"),
    "tuner": ("apply", "progress", "best trials"),
    "worker-http": ("ask", "tell and ask"),
    "worker-nats": ("ask over NATS", "tell and ask over NATS"),
    "pipeline-http": ("posted event to answer",),
    "pipeline-nats": ("event over NATS to answer",),
}

# Events whose time does not say how long they were on their way: of a trial that workers ask for,
# the document and so its event may follow a second later.
TOLD_LATER = frozenset({"io.trialbus.trial.created.v1"})

MEANINGS: dict[Kind, str] = {
    "reader": "asks for progress, the best trials, pages of trials and experiments, explanations",
    "follower": "follows an experiment by server-sent events",
    "subscriber": "subscribes to an experiment's events on the bus",
    "applier": "creates an experiment, changes its budget, and later another",
    "tuner": "creates an experiment, looks at it until it has ended, and begins the next",
    "worker-http": "asks for trials and tells results over HTTP",
    "worker-nats": "asks for trials and tells results over NATS",
    "pipeline-http": "posts a CloudEvent that creates an experiment and waits for its result",
    "pipeline-nats": "sends such an event over NATS and waits until it is accepted",
}
