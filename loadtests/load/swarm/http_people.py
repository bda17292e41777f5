"""People who call the gateway over HTTP."""

import random
import uuid
from typing import Any, ClassVar

import gevent
from locust.contrib.fasthttp import FastHttpUser

from loadtests.load.swarm.seats import Seat

# Of one call: longer than anything that it may wait for.
CALL_TIMEOUT_S = 90.0
ASK_WAIT_S = 5.0
ANSWER_WAIT_S = 60
LOOK_S = 2.0
TUNER_LOOK_S = 5.0
ENDED = ("Succeeded", "Failed")
_CLOUD_EVENT = {"content-type": "application/cloudevents+json"}


class Caller(FastHttpUser):  # type: ignore[misc]  # Locust has no types here
    """What they have in common."""

    abstract = True
    seat: ClassVar[Seat]
    network_timeout = CALL_TIMEOUT_S
    connection_timeout = CALL_TIMEOUT_S
    # A repeat would be measured as one call.
    max_retries = 0

    def on_start(self) -> None:
        self.name = self.seat.next_name()

    def get(self, path: str, name: str) -> Any:
        """The answer's JSON; None where it failed, which is counted."""
        return self._said(self.client.get(path, name=name, catch_response=True))

    def put(self, path: str, body: Any, name: str) -> Any:
        return self._said(self.client.put(path, json=body, name=name, catch_response=True))

    def post(self, path: str, body: Any, name: str, headers: dict[str, str] | None = None) -> Any:
        asked = self.client.post(path, json=body, name=name, headers=headers, catch_response=True)
        return self._said(asked)

    @staticmethod
    def _said(asked: Any) -> Any:
        with asked as answer:
            if not 200 <= answer.status_code < 300:
                answer.failure(f"HTTP {answer.status_code}: {(answer.text or '')[:100]}")
                return None
            return answer.json()


class Reader(Caller):
    """Mostly looks how far it is."""

    abstract = True

    def progress(self) -> None:
        self.get(self.seat.path(self.name, "progress"), "progress")

    def best(self) -> None:
        query = "?sort=value&state=Succeeded&view=table&limit=10"
        self.get(self.seat.path(self.name, "trials") + query, "best trials")

    def page(self) -> None:
        """Somewhere within the first thousand."""
        query = f"?limit=100&indexFrom={random.randrange(1000)}"
        self.get(self.seat.path(self.name, "trials") + query, "page of trials")

    def experiment(self) -> None:
        self.get(self.seat.path(self.name), "experiment")

    def experiments(self) -> None:
        self.get("/v1/experiments?limit=50", "page of experiments")

    def explain(self) -> None:
        self.get(self.seat.path(self.name, "explain"), "explain")

    tasks: ClassVar[dict[Any, int]] = {
        progress: 8,
        best: 4,
        page: 3,
        experiment: 2,
        experiments: 2,
        explain: 1,
    }


class Applier(Caller):
    """Creates one, then lets it run one trial more."""

    abstract = True

    def apply(self) -> None:
        body = self.seat.new_object()
        path = self.seat.path(body["metadata"]["name"])
        if self.put(path, {"object": body}, "apply") is None:
            return
        body["spec"]["maxTrialCount"] += 1
        self.put(path, {"object": body}, "apply again")

    tasks: ClassVar[list[Any]] = [apply]


class Tuner(Caller):
    """One experiment after the other; each has to end with exactly its budget."""

    abstract = True

    def tune(self) -> None:
        body = self.seat.new_object()
        name = body["metadata"]["name"]
        if self.put(self.seat.path(name), {"object": body}, "apply") is None:
            return
        while True:
            gevent.sleep(TUNER_LOOK_S * random.uniform(0.5, 1.5))
            found = self.get(self.seat.path(name, "progress"), "progress")
            # Those who go leave it running: it has to end all the same.
            if not self.seat.is_open or (found is not None and found["phase"] in ENDED):
                break
        query = "?sort=value&view=table&limit=10"
        self.get(self.seat.path(name, "trials") + query, "best trials")

    tasks: ClassVar[list[Any]] = [tune]


class Worker(Caller):
    """Has some trials at a time; tells their results together with the ask for the next."""

    abstract = True

    def on_start(self) -> None:
        super().on_start()
        self.worker = f"load-{uuid.uuid4().hex[:12]}"

    def work(self) -> None:
        body = self.ask() | {"wait": ASK_WAIT_S}
        reply = self.say("ask", body)
        while reply is not None and reply["trials"] and self.seat.is_open:
            gevent.sleep(self.seat.working_s())
            results = results_of(reply["trials"])
            reply = self.say("tell", {"results": results, "ask": self.ask()})
            if reply is not None:
                self.seat.count_told(self.name, reply["answers"])
        if reply is None or reply["over"]:
            gevent.sleep(LOOK_S)
        elif reply["trials"]:
            given = [{"trial": it["trial"], "attempt": it["attempt"]} for it in reply["trials"]]
            self.say("release", {"trials": given})

    def ask(self) -> dict[str, Any]:
        return {"id": uuid.uuid4().hex, "worker": self.worker, "count": self.seat.people.ahead}

    def say(self, word: str, body: dict[str, Any]) -> Any:
        name = {"tell": "tell and ask"}.get(word, word)
        return self.post(self.seat.path(self.name, word), body, name)

    tasks: ClassVar[list[Any]] = [work]


class Poster(Caller):
    """A step of a pipeline: all of them at once, each waits for the experiment's result."""

    abstract = True

    def send(self) -> None:
        if not self.seat.wait_for_turn():
            return
        path = f"/v1/events?wait={ANSWER_WAIT_S}"
        answer = self.post(path, self.seat.new_event(), "posted event to answer", _CLOUD_EVENT)
        if answer is not None and not answer.get("finished"):
            self.environment.events.request.fire(
                request_type="POST",
                name="posted event to answer",
                response_time=ANSWER_WAIT_S * 1000,
                response_length=0,
                exception=RuntimeError(f"no result within {ANSWER_WAIT_S} s"),
                context={},
            )

    tasks: ClassVar[list[Any]] = [send]


def results_of(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The loss is x."""
    return [
        {
            "trial": it["trial"],
            "attempt": it["attempt"],
            "metrics": {"loss": it["parameters"]["x"]},
            "reported": False,
        }
        for it in trials
    ]
