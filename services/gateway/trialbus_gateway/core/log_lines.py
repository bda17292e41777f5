"""A log's lines as Kubernetes gives them: those since a time, with times, up to a size.

A trial's output is plain text without times. A line's time is the one that it begins with, if it
does (RFC 3339), else about when it was written as far as that is known (`log_times`), else when it
was read.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from trialbus.kernel.timestamps import rfc3339_seconds
from trialbus_gateway.core.log_times import LogTimes

# A line without an end may not grow for ever.
_MAX_LINE_CHARS = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """since_at: lines of before are left out. limit_bytes: of the whole answer."""

    since_at: float | None = None
    timestamps: bool = False
    limit_bytes: int | None = None

    @property
    def changes_nothing(self) -> bool:
        return self == LineOptions()


class LogLines:
    """Takes a log piece by piece and gives what is to be shown of it. times: of the output."""

    def __init__(self, options: LineOptions, times: LogTimes | None = None) -> None:
        self._options = options
        self._times = times or LogTimes()
        # Of the beginning of the next line, None: not known.
        self._byte: int | None = None
        self._rest = ""
        self._left = options.limit_bytes
        self._since = options.since_at

    @property
    def full(self) -> bool:
        """Nothing more will be shown, whatever comes."""
        return self._left is not None and self._left <= 0

    def shown(self, piece: str, at: float, begin: int | None = None) -> str:
        """Of another piece, which was read at `at` and begins at the byte `begin`; an unfinished
        line waits for its end."""
        if self._options.changes_nothing:
            return piece
        self._byte = None if begin is None else max(0, begin - _size(self._rest))
        *lines, rest = (self._rest + piece).split("\n")
        if len(rest) > _MAX_LINE_CHARS:
            lines, rest = [*lines, rest], ""
        self._rest = rest
        return self._cut("".join(self._told(line + "\n", at) for line in lines))

    def ending(self, at: float) -> str:
        """What is left when nothing more comes."""
        rest, self._rest = self._rest, ""
        return self._cut("".join(self._told(rest, at))) if rest else ""

    def _told(self, line: str, at: float) -> str:
        written_at = self._written_at(line, at)
        if self._since is not None:
            if written_at < self._since:
                return ""
            # Lines are in order: whatever follows is newer, whatever it begins with.
            self._since = None
        return f"{_moment(written_at)} {line}" if self._options.timestamps else line

    def _written_at(self, line: str, at: float) -> float:
        own = rfc3339_seconds(line.split(maxsplit=1)[0]) if line[:2].isdigit() else None
        known = None if self._byte is None else self._times.of(self._byte)
        if self._byte is not None:
            self._byte += _size(line)
        if own is not None:
            return own
        return at if known is None else known

    def _cut(self, text: str) -> str:
        if self._left is None:
            return text
        data = text.encode("utf-8", "replace")[: max(self._left, 0)]
        self._left -= len(data)
        return data.decode("utf-8", "ignore")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _moment(at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
