"""A gateway whose experiments give out trials, with no services behind it: for clients' tests."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from trialbus.testkit.fake_gateway import Answer, FakeGateway

NAME = "work"
OBJECTIVE = "loss"
VERBS = ("ask", "report", "heartbeat", "tell", "release")
PATH = f"/v1/namespaces/default/experiments/{NAME}"

Json = Any


@dataclass
class FakeWork:
    """So many trials of one experiment, one parameter `x`: the trial's index.

    lease_s: as it is told; what is lost is up to the test. parallel: at most so many are out.
    unknown: as many next items are answered with "nobody knows". refused: trial -> (why, stop).
    """

    trials: int = 10
    parallel: int = 100
    lease_s: float = 30.0
    unknown: int = 0
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    stops: dict[str, str] = field(default_factory=dict)
    opened: int = 0
    out: dict[str, int] = field(default_factory=dict)
    back: list[tuple[str, int]] = field(default_factory=list)
    results: dict[str, dict[str, Json]] = field(default_factory=dict)
    reports: list[dict[str, Json]] = field(default_factory=list)
    said: list[tuple[str, dict[str, Json]]] = field(default_factory=list)
    asks: dict[str, list[Json]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def count(self, verb: str) -> int:
        with self.lock:
            return sum(each == verb for each, _ in self.said)

    def say(self, verb: str, body: dict[str, Json]) -> Json:
        with self.lock:
            self.said.append((verb, body))
            items = body.get("reports") or body.get("results") or body.get("trials") or ()
            answers = [self._answer(verb, item) for item in items]
            ask = body if verb == "ask" else body.get("ask")
            given = self._give(ask) if ask else []
            over = len(self.results) == self.trials
            phase = "Succeeded" if over else "Running"
            found = {"accepted": True, "phase": phase, "over": over}
            return {**found, "answers": answers, "trials": given}

    def _answer(self, verb: str, item: dict[str, Json]) -> Json:
        trial, attempt = item["trial"], item["attempt"]
        answer = {"trial": trial, "attempt": attempt, "accepted": True}
        if self.unknown:
            self.unknown -= 1
            return {**answer, "accepted": False}
        if trial in self.refused:
            why, stop = self.refused[trial]
            return {**answer, "accepted": False, "refused": why, "stop": stop}
        if verb == "report":
            self.reports.append(item)
        elif verb == "tell":
            self.results[trial] = item
            self.out.pop(trial, None)
        elif verb == "release":
            self.out.pop(trial, None)
            self.back.append((trial, attempt + 1))
        return {**answer, "stop": self.stops.get(trial, "")}

    def _give(self, ask: dict[str, Json]) -> list[Json]:
        if ask["id"] in self.asks:
            return self.asks[ask["id"]]
        given: list[Json] = []
        while len(given) < ask.get("count", 1) and len(self.out) < self.parallel:
            if self.back:
                trial, attempt = self.back.pop(0)
            elif self.opened < self.trials:
                trial, attempt = f"{NAME}-{self.opened}", 1
                self.opened += 1
            else:
                break
            self.out[trial] = attempt
            index = int(trial.rpartition("-")[2])
            given.append(
                {
                    "trial": trial,
                    "attempt": attempt,
                    "index": index,
                    "parameters": {"x": index},
                    "lease": self.lease_s,
                    "checkpoint": f"/checkpoints/{index}",
                }
            )
        self.asks[ask["id"]] = given
        return given


class WorkGateway(FakeGateway):
    """faults: answers that come before the next ones of the work. lost: as many next words are
    obeyed, and their answers are lost."""

    def __init__(self, work: FakeWork) -> None:
        super().__init__()
        self.work = work
        self.faults: list[Answer] = []
        self.lost = 0
        counts = dict.fromkeys(("created", "running", "succeeded"), 0)
        progress = {
            "namespace": "default",
            "name": NAME,
            "phase": "Running",
            "parallel": 1,
            "objective": {"type": "minimize", "name": OBJECTIVE},
            "trials": counts,
        }
        self.says(f"GET {PATH}/progress", (200, progress))

    def answer(self, what: str) -> Answer:
        verb = what.rpartition("/")[2]
        if not what.startswith(f"POST {PATH}/") or verb not in VERBS:
            return super().answer(what)
        self.asked.append(what)
        if self.faults:
            return self.faults.pop(0)
        said = self.work.say(verb, self.bodies[what])
        if self.lost:
            self.lost -= 1
            return 504, {"message": "the answer is lost"}
        return 200, json.dumps(said)


@contextmanager
def serving_work(work: FakeWork) -> Iterator[WorkGateway]:
    fake = WorkGateway(work)
    thread = threading.Thread(target=fake.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        thread.join()
        fake.server.server_close()
