"""What one line of a scenario's people shares: whom it deals with, and what it counts."""

import copy
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import gevent

from loadtests.load.plan import Plan
from loadtests.load.scenario import People

# People who wait look so often whether they are to go.
LOOK_S = 1.0
_NUMBERS = itertools.count()


class Seat:
    """told: results that were told and accepted, by experiment. is_open: people go on calling."""

    is_open = True

    def __init__(self, plan: Plan, people: People) -> None:
        self.plan = plan
        self.people = people
        self.told: Counter[str] = Counter()
        self._began = time.monotonic()
        self._turns = itertools.cycle(
            [name for group in people.of for name in plan.names.get(group, ())] or [""]
        )

    def next_name(self) -> str:
        """Of an experiment that is there, one after the other."""
        return next(self._turns)

    def new_object(self) -> dict[str, Any]:
        """An experiment of one of the patterns, with a name of its own."""
        group = random.choice(self.people.of)
        found = copy.deepcopy(self.plan.objects[group])
        found["metadata"]["name"] = f"{group}-{os.getpid()}-{next(_NUMBERS)}"
        return found

    def new_event(self) -> dict[str, Any]:
        """A CloudEvent that creates one."""
        data = self.new_object()
        return {
            "specversion": "1.0",
            "id": data["metadata"]["name"],
            "source": "/loadtests",
            "type": "io.trialbus.experiment.create.v1",
            "datacontenttype": "application/json",
            "data": data,
        }

    def count_told(self, name: str, answers: Sequence[Mapping[str, Any]]) -> None:
        self.told[name] += sum(1 for it in answers if it["accepted"])

    def path(self, name: str, *words: str) -> str:
        return "/".join([f"/v1/namespaces/{self.plan.namespace}/experiments", name, *words])

    def wait_for_turn(self) -> bool:
        """Until the next moment at which all pipelines send; False: people are to go."""
        every = self.people.every or 1.0
        turn = time.monotonic() + every - (time.monotonic() - self._began) % every
        while self.is_open and (left := turn - time.monotonic()) > 0:
            gevent.sleep(min(left, LOOK_S))
        return self.is_open

    def working_s(self) -> float:
        return random.uniform(*self.people.work)
