"""The claim file of a run: a journal that is written by appending one short line at a time.

    run {...}     the claim itself, there from the first instant that the file is seen
    pid 4711      the wrapper, in its own words
    stop {...}    we want it to end; the first one counts
    note "..."    what went wrong before user code ran
    exit 3        the result: an exit code, ...
    signal 9      ... or the signal that ended it, ...
    never         ... or it was stopped before it started

Any other line was said by the shell that wraps the command. Only whole lines count, so a torn
last line is as if it had not been written.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

# A shell reports a signal n as exit code 128 + n, and names the signal on its stderr, except for
# these: bash is silent about SIGTERM and SIGPIPE when it runs scripts, all are about SIGINT.
_SIGNAL_BASE = 128
_MAX_SIGNAL = 64
_UNNAMED_SIGNALS = frozenset({2, 13, 15})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """monotonic_at: the machine's monotonic clock, the same for all processes until a reboot; a
    deadline is counted on it, so that a step of the wall clock ends no run."""

    run_id: str
    started_at: float
    monotonic_at: float
    boot_id: str
    launcher_pid: int
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    reason: str
    monotonic_at: float
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Both None: it was stopped before it started."""

    exit_code: int | None = None
    signal: int | None = None


@dataclass(slots=True, kw_only=True)
class Journal:
    """What the lines say. claim is None only if a power failure took the first line."""

    claim: Claim | None = None
    pid: int | None = None
    stop: Stop | None = None
    note: str = ""
    said: list[str] = field(default_factory=list)
    ending: Ending | None = None


def claim_line(claim: Claim) -> bytes:
    return _line("run", asdict(claim))


def stop_line(stop: Stop) -> bytes:
    return _line("stop", asdict(stop))


def note_line(text: str) -> bytes:
    return _line("note", text)


def ending_line(ending: Ending) -> bytes:
    if ending.exit_code is not None:
        return b"exit %d\n" % ending.exit_code
    return b"never\n" if ending.signal is None else b"signal %d\n" % ending.signal


def parse(content: bytes) -> Journal:
    """Reads whole lines up to the first ending; never fails, whatever the bytes are."""
    journal = Journal()
    for line in content.split(b"\n")[:-1]:
        word, _, rest = line.partition(b" ")
        try:
            _READERS[word](journal, rest)
        except (KeyError, ValueError, TypeError):
            journal.said.append(line.decode(errors="replace"))
        if journal.ending is not None:
            break
    return journal


def _line(word: str, value: object) -> bytes:
    # ASCII without newlines: JSON escapes everything else.
    return f"{word} {json.dumps(value)}\n".encode()


def _read_run(journal: Journal, rest: bytes) -> None:
    journal.claim = journal.claim or Claim(**json.loads(rest))


def _read_pid(journal: Journal, rest: bytes) -> None:
    journal.pid = journal.pid or int(rest)


def _read_stop(journal: Journal, rest: bytes) -> None:
    journal.stop = journal.stop or Stop(**json.loads(rest))


def _read_note(journal: Journal, rest: bytes) -> None:
    journal.note = str(json.loads(rest))


def _read_exit(journal: Journal, rest: bytes) -> None:
    code = int(rest)
    number = code - _SIGNAL_BASE
    if 0 < number <= _MAX_SIGNAL and (journal.said or number in _UNNAMED_SIGNALS):
        journal.ending = Ending(signal=number)
    else:
        journal.ending = Ending(exit_code=code)


def _read_signal(journal: Journal, rest: bytes) -> None:
    journal.ending = Ending(signal=int(rest))


def _read_never(journal: Journal, _rest: bytes) -> None:
    journal.ending = Ending()


_READERS: dict[bytes, Callable[[Journal, bytes], None]] = {
    b"run": _read_run,
    b"pid": _read_pid,
    b"stop": _read_stop,
    b"note": _read_note,
    b"exit": _read_exit,
    b"signal": _read_signal,
    b"never": _read_never,
}
