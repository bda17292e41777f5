"""What a sweep repaired: changes that no message led to, nearly none where nothing fails.

A look that only the sweep asked for is noted with what is committed in it. It was a repair unless
an event comes after all that is older than the look: the message was on its way, and the sweep was
only quicker. (Younger events are what the look itself led to.) So a repair is counted when the next
sweep begins.
"""

from collections.abc import Collection, Iterable, Sequence
from contextvars import ContextVar

from trialbus.ports.clock import Clock
from trialbus.ports.store import Outcome, Write
from trialbus.runtime import metrics
from trialbus.runtime.telemetry import Telemetry


class Look:
    """One group's handling. swept: of its experiments those that only the sweep led to."""

    def __init__(self, swept: set[str], began_at: float) -> None:
        self.began_at = began_at
        self._left = swept
        self._written: set[str] = set()

    def note(self, keys: Iterable[str]) -> None:
        """Documents were changed. What the look has started may go on after its end."""
        if self._left:
            self._written.update(keys)

    def end(self, uid: str) -> bool:
        """What was to be done for it is done: whether only the sweep had led to it, and it has
        changed. Keys of what belongs to an experiment are its uid, or begin with it."""
        if uid not in self._left:
            return False
        self._left.discard(uid)
        return any(key.startswith(uid) for key in self._written)

    def explain(self, uid: str) -> None:
        """A message would have led to it as well."""
        self._left.discard(uid)


# The look that this task belongs to; None: messages led to it.
_LOOK: ContextVar[Look | None] = ContextVar("look", default=None)


def note_written(writes: Sequence[Write], outcomes: Sequence[Outcome | None]) -> None:
    """Tell the look that this task belongs to what it has changed."""
    look = _LOOK.get()
    if look is not None:
        pairs = zip(writes, outcomes, strict=True)
        done = (write for write, outcome in pairs if outcome is Outcome.DONE)
        look.note(write.id for write in done if _says_something(write))


def _says_something(write: Write) -> bool:
    """Not what only tidies up a document that has events: that is left to whichever look comes."""
    if write.base is None or "outbox" not in write.document:
        return True
    known = {event["id"] for event in write.base.get("outbox") or ()}
    return any(event["id"] not in known for event in write.document["outbox"] or ())


class Repairs:
    """Of one hint loop."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        # Experiments that wait for a look that only the sweep asked for.
        self._swept: set[str] = set()
        # Those that are looked at for this alone, or were since the last sweep and have changed.
        self._looks: dict[str, Look] = {}
        self._changed: dict[str, Look] = {}

    def sweep(self, uids: Iterable[str], waiting: Collection[str]) -> None:
        """A sweep found these. waiting: experiments that are to be looked at anyway."""
        if self._changed:
            self._telemetry.add(metrics.SWEEP_REPAIRS, len(self._changed), what="experiment")
            self._changed.clear()
        self._swept.update(uid for uid in uids if uid not in waiting)

    def hear(self, uid: str, at: float) -> None:
        """A message of it came, about something of this time."""
        self._swept.discard(uid)
        look = self._looks.get(uid)
        if look is not None and at <= look.began_at:
            look.explain(uid)
        changed = self._changed.get(uid)
        if changed is not None and at <= changed.began_at:
            del self._changed[uid]

    def begin(self, uids: Iterable[str]) -> Look | None:
        """This task looks at these experiments now, and what it starts belongs to the look. None:
        messages asked for all of them."""
        swept = self._swept.intersection(uids) if self._swept else set()
        self._swept -= swept
        look = Look(set(swept), self._clock.now()) if swept else None
        if look is not None:
            self._looks.update(dict.fromkeys(swept, look))
        _LOOK.set(look)
        return look

    def end(self, look: Look | None, uid: str) -> None:
        """What was to be done for it in this look is done."""
        if look is None:
            return
        self._looks.pop(uid, None)
        if look.end(uid):
            self._changed[uid] = look
