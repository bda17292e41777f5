"""python -m loadtests.load.swarm PLAN: people call the stack until their time is over, or SIGTERM
comes; windows of what they saw go to the plan's output."""

# Before all others: it makes blocking calls cooperative.
import locust  # isort: skip

import signal
import sys
from pathlib import Path

import gevent
from gevent.event import Event
from locust.env import Environment

from loadtests.load.people import Kind
from loadtests.load.plan import Plan
from loadtests.load.swarm.bus_people import BusWorker, EventSender, Subscriber, close_bridges
from loadtests.load.swarm.http_people import Applier, Poster, Reader, Tuner, Worker
from loadtests.load.swarm.recording import Recorder
from loadtests.load.swarm.seats import Seat
from loadtests.load.swarm.streams import Follower, hang_up

CLASSES: dict[Kind, type[locust.User]] = {
    "reader": Reader,
    "follower": Follower,
    "subscriber": Subscriber,
    "applier": Applier,
    "tuner": Tuner,
    "worker-http": Worker,
    "worker-nats": BusWorker,
    "pipeline-http": Poster,
    "pipeline-nats": EventSender,
}
# Calls that wait for a trial or for the end of an experiment may take so long to come back.
GO_WITHIN_S = 30.0


def user_classes(plan: Plan) -> list[type[locust.User]]:
    """One for each line of the scenario's people."""
    return [
        type(
            f"{CLASSES[it.kind].__name__}{number}",
            (CLASSES[it.kind],),
            {
                "abstract": False,
                "host": plan.http,
                "fixed_count": it.count,
                "wait_time": locust.between(*it.pause),
                "seat": Seat(plan, it),
            },
        )
        for number, it in enumerate(plan.people)
    ]


def main() -> int:
    plan = Plan.model_validate_json(Path(sys.argv[1]).read_text())
    classes = user_classes(plan)
    environment = Environment(user_classes=classes, stop_timeout=GO_WITHIN_S)
    runner = environment.create_local_runner()
    count = sum(it.count for it in plan.people)
    with Recorder(environment, plan) as recorder:
        done = Event()
        gevent.signal_handler(signal.SIGTERM, done.set)
        runner.start(count, spawn_rate=max(1.0, count / plan.come_within))
        done.wait(plan.seconds)
        # Long loops end after the call that they are in; who only listens has none.
        Seat.is_open = False
        hang_up()
        runner.stop()
        recorder.told = {name: n for it in classes for name, n in it.seat.told.items()}
    runner.quit()
    close_bridges()
    return 0


if __name__ == "__main__":
    sys.exit(main())
