"""People who speak NATS, without the gateway between."""

import itertools
import json
import sys
import uuid
from typing import Any, ClassVar

import gevent
from gevent import subprocess
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore
from locust import User
from locust.env import Environment

from loadtests.load.swarm.http_people import ASK_WAIT_S, LOOK_S, results_of
from loadtests.load.swarm.seats import Seat

BRIDGE = "loadtests.load.swarm.bridge"
# As workers and pipelines are told to: then they say it again.
REPLY_TIMEOUT_S = 10.0
EVENT_NAME = "event over NATS"
_STRUCTURED = {"content-type": "application/cloudevents+json"}


class Bridge:
    """The process that speaks NATS: its event loop and that of Locust stay apart."""

    def __init__(self, url: str, environment: Environment) -> None:
        command = [sys.executable, "-m", BRIDGE, url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
        )
        self._environment = environment
        self._numbers = itertools.count()
        self._asked: dict[int, AsyncResult] = {}
        self._writing = BoundedSemaphore(1)
        gevent.spawn(self._read)

    def ask(
        self, subject: str, body: Any, wait_s: float = 0.0, headers: Any = None
    ) -> dict[str, Any]:
        """`answer` or `problem`, and `ms`."""
        number = next(self._numbers)
        self._asked[number] = answer = AsyncResult()
        timeout = REPLY_TIMEOUT_S + wait_s
        said = {"id": number, "subject": subject, "body": body, "headers": headers}
        self._write(said | {"timeout": timeout})
        found: dict[str, Any] = answer.get()
        return found

    def follow(self, subject: str) -> None:
        self._write({"follow": subject})

    def close(self) -> None:
        """Waited for, so that its processor time counts with ours."""
        self._process.stdin.close()
        self._process.wait()

    def _write(self, said: Any) -> None:
        with self._writing:
            self._process.stdin.write(json.dumps(said).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        for line in self._process.stdout:
            said = json.loads(line)
            if "event_ms" in said:
                self.tell(EVENT_NAME, said["event_ms"], None)
            else:
                self._asked.pop(said["id"]).set(said)
        for waiting in self._asked.values():
            waiting.set({"problem": "the bridge to NATS has ended", "ms": 0.0})

    def tell(self, name: str, ms: float, problem: str | None) -> None:
        """To Locust, as of any request."""
        self._environment.events.request.fire(
            request_type="NATS",
            name=name,
            response_time=ms,
            response_length=0,
            exception=None if problem is None else RuntimeError(problem),
            context={},
        )


class BusUser(User):  # type: ignore[misc]  # Locust has no types here
    """All of a process share one bridge."""

    abstract = True
    seat: ClassVar[Seat]
    bridges: ClassVar[dict[str, Bridge]] = {}

    def on_start(self) -> None:
        self.name = self.seat.next_name()

    @property
    def bridge(self) -> Bridge:
        url = self.seat.plan.nats
        if url not in self.bridges:
            self.bridges[url] = Bridge(url, self.environment)
        return self.bridges[url]

    def say(
        self,
        experiment: str,
        verb: str,
        body: Any,
        name: str,
        *,
        wait_s: float = 0.0,
        headers: Any = None,
    ) -> Any:
        """The reply; None where there was none or it was not accepted, which is counted."""
        subject = f"trialbus.v1.cmd.{self.seat.plan.namespace}.{experiment}.{verb}"
        said = self.bridge.ask(subject, body, wait_s, headers)
        reply = said.get("answer")
        problem = said.get("problem")
        if reply is not None and not reply["accepted"]:
            problem, reply = str(reply.get("problems") or "stale"), None
        self.bridge.tell(name, said["ms"], problem)
        return reply


def close_bridges() -> None:
    for bridge in BusUser.bridges.values():
        bridge.close()


class BusWorker(BusUser):
    """As a worker over HTTP."""

    abstract = True

    def on_start(self) -> None:
        super().on_start()
        self.worker = f"load-{uuid.uuid4().hex[:12]}"

    def work(self) -> None:
        body = self.ask() | {"wait": ASK_WAIT_S}
        reply = self.say(self.name, "ask", body, "ask over NATS", wait_s=ASK_WAIT_S)
        while reply is not None and reply["trials"] and self.seat.is_open:
            gevent.sleep(self.seat.working_s())
            told = {"results": results_of(reply["trials"]), "ask": self.ask()}
            reply = self.say(self.name, "tell", told, "tell and ask over NATS")
            if reply is not None:
                self.seat.count_told(self.name, reply["answers"])
        if reply is None or reply["over"]:
            gevent.sleep(LOOK_S)
        elif reply["trials"]:
            given = [{"trial": it["trial"], "attempt": it["attempt"]} for it in reply["trials"]]
            self.say(self.name, "release", {"trials": given}, "release over NATS")

    def ask(self) -> dict[str, Any]:
        return {"id": uuid.uuid4().hex, "worker": self.worker, "count": self.seat.people.ahead}

    tasks: ClassVar[list[Any]] = [work]


class EventSender(BusUser):
    """A step of a pipeline that creates an experiment, all of them at once."""

    abstract = True

    def send(self) -> None:
        if not self.seat.wait_for_turn():
            return
        event = self.seat.new_event()
        name = event["data"]["metadata"]["name"]
        self.say(name, "create", event, "event over NATS to answer", headers=_STRUCTURED)

    tasks: ClassVar[list[Any]] = [send]


class Subscriber(BusUser):
    """Hears what happens to its experiment."""

    abstract = True

    def on_start(self) -> None:
        super().on_start()
        self.bridge.follow(f"trialbus.v1.evt.{self.seat.plan.namespace}.{self.name}.>")

    def listen(self) -> None:
        gevent.sleep(LOOK_S)

    tasks: ClassVar[list[Any]] = [listen]
