"""What goes wrong between a client and the server, ordered by a test or drawn from a seed."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal[
    "status",  # an answer with `code`
    "hold",  # the connection is held for hold_s, then closed
    "reset",  # the connection breaks without an answer
    "watch-drop",  # the watch ends in the middle
    "watch-silent",  # the watch stays open, and nothing comes any more
    "watch-gone",  # an ERROR event with a 410
    "stale",  # a list shows the past
    "compact",  # the past is forgotten, then the call goes on
]
Moment = Literal["before", "after"]
WATCH_FAULTS = ("watch-drop", "watch-silent", "watch-gone")


@dataclass(slots=True, kw_only=True)
class Fault:
    """verb, resource, name: "" stands for any; resource: plural, `pods/log` for a subresource.

    moment: of status, hold and reset: before or after the effect. after_events: of a watch's
    faults. times: how often it strikes, None for always; skip: how many calls are let through.
    """

    kind: FaultKind
    verb: str = ""
    resource: str = ""
    name: str = ""
    code: int = 503
    reason: str = ""
    message: str = "injected"
    moment: Moment = "before"
    retry_after_s: int | None = None
    hold_s: float = 3600.0
    after_events: int = 0
    events_back: int = 1
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    struck: int = 0

    def fits(self, verb: str, resource: str, name: str) -> bool:
        return (
            self.verb in ("", verb)
            and self.resource in ("", resource)
            and self.name in ("", name)
            and (verb == "watch") >= (self.kind in WATCH_FAULTS)
            and (self.kind != "stale" or verb == "list")
        )


@dataclass(slots=True)
class Faults:
    """counts: what struck, by kind and moment (`status 409 after`)."""

    letters: random.Random = field(default_factory=lambda: random.Random(0))
    orders: list[Fault] = field(default_factory=list)
    counts: "Counter[str]" = field(default_factory=Counter)

    def add(self, fault: Fault) -> Fault:
        self.orders.append(fault)
        return fault

    def storm(self, seed: int, faults: Sequence[Fault]) -> None:
        """These, with their probabilities, drawn from the seed."""
        self.letters = random.Random(seed)
        self.orders.extend(faults)

    def clear(self) -> None:
        self.orders.clear()

    @property
    def total(self) -> int:
        return self.counts.total()

    def strikes(self, verb: str, resource: str, name: str) -> Fault | None:
        if not self.orders:
            return None
        for fault in self.orders:
            if not fault.fits(verb, resource, name):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.probability < 1.0 and self.letters.random() >= fault.probability:
                continue
            self._count(fault)
            return fault
        return None

    def _count(self, fault: Fault) -> None:
        fault.struck += 1
        if fault.times is not None and fault.struck >= fault.times:
            self.orders.remove(fault)
        code = f" {fault.code}" if fault.kind == "status" else ""
        moment = f" {fault.moment}" if fault.kind in ("status", "hold", "reset") else ""
        self.counts[f"{fault.kind}{code}{moment}"] += 1


def bad_weather(rate: float) -> list[Fault]:
    """Everything that a client must survive; each with this probability for each call it fits."""
    codes = (500, 503, 504)
    faults = [
        Fault(kind="status", code=409, verb="create", moment="after"),
        Fault(kind="status", code=429, retry_after_s=0),
        *(Fault(kind="status", code=code) for code in codes),
        *(Fault(kind="status", code=code, moment="after") for code in codes),
        Fault(kind="reset"),
        Fault(kind="reset", moment="after"),
        Fault(kind="watch-drop", after_events=3),
        Fault(kind="watch-gone", after_events=2),
        Fault(kind="watch-gone"),
        Fault(kind="stale", events_back=5),
        Fault(kind="compact", verb="list"),
    ]
    for fault in faults:
        fault.times, fault.probability = None, rate
    return faults
