"""The lines of a pod's log, told with their times: taken up again after a lost connection without
losing or doubling one. Pure.

A log is one stream of bytes: what the container wrote, without the times. After a reconnect the
server gives all lines of the last second again; they are passed over up to the last one that was
taken. If that one is not among them the node has begun a new file meanwhile, and lines are missing.
"""

from dataclasses import dataclass

from trialbus.kernel.timestamps import in_utc

_FRACTION_DIGITS = 9


@dataclass(slots=True)
class LogLines:
    """at: bytes taken so far. skip_to: what lies before is somebody's already. incomplete: lines
    are known to be missing."""

    skip_to: int = 0
    at: int = 0
    incomplete: bool = False
    _rest: bytes = b""
    _last: tuple[bytes, bytes] | None = None
    _repeats: int = 0
    _newest: bytes = b""
    # Of the present connection: how often the last line is still to come, 0: all is new.
    _known: int = 0

    @property
    def since(self) -> str:
        """From when on to ask for lines, "" from the beginning."""
        return "" if self._last is None else self._last[0].decode("ascii", "replace")

    def reconnected(self) -> None:
        """What comes next is the answer to a request for lines since `since`."""
        self._rest = b""
        self._known = self._repeats

    def feed(self, data: bytes) -> bytes:
        """Whole new lines in `data` and what came before it, without times."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return b"".join(filter(None, [self._take(line, b"\n") for line in lines]))

    def finish(self) -> bytes:
        """The log is over: a last line needs no end."""
        rest, self._rest = self._rest, b""
        data = self._take(rest, b"") if rest else b""
        if self._known:
            self.incomplete, self._known = True, 0
        if self.at < self.skip_to:
            # It is shorter than what was read of it before.
            self.at, self.incomplete = self.skip_to, True
        return data

    def _take(self, line: bytes, end: bytes) -> bytes:
        at, _, content = line.partition(b" ")
        key, newest = (at, content), _ordered(at)
        if self._known:
            if key == self._last:
                self._known -= 1
                return b""
            if newest <= self._newest:
                return b""
            self.incomplete, self._known = True, 0
        self._repeats = self._repeats + 1 if key == self._last else 1
        self._last, self._newest = key, max(self._newest, newest)
        return self._new(content + end)

    def _new(self, data: bytes) -> bytes:
        before = self.at
        self.at += len(data)
        if before >= self.skip_to:
            return data
        if self.at <= self.skip_to:
            return b""
        # What was read before ended within a line of this file: it is another file.
        self.at, self.incomplete = self.skip_to + len(data), True
        return data


def _ordered(at: bytes) -> bytes:
    """RFC 3339 in UTC, so that later is greater, whatever its number of digits. Nodes write the
    time of their own zone, whose summer ends."""
    if not at.endswith(b"Z"):
        at = in_utc(at.decode("ascii", "replace")).encode()
    whole, _, fraction = at.rstrip(b"Z").partition(b".")
    return whole + b"." + fraction.ljust(_FRACTION_DIGITS, b"0")
