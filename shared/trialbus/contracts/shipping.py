"""How a trial's pod claims its attempt and ships its metrics: `docs/explanation/wrapper.md`.

The wrapper (deploy/docker/wrapper) speaks HTTP to the gateway; the gateway asks the trial launcher
over the bus, on `subjects.claim` with a `Claim` and on `subjects.output` with the bytes as they
came and what is beside them in headers. Answers are sent after the commit.

A stream only grows. Its bytes are the lines of the command's output, of a file, or frames of event
records (`FRAME_WORD`). Whoever ships keeps what is not stored yet, and the newest `note`, which it
sends along as it came: what the reading side must remember between two requests is in it.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from trialbus.contracts.envelope import Body
from trialbus.contracts.messages import Request
from trialbus.kernel.errors import Poison
from trialbus.kernel.limits import MAX_MESSAGE_CHARS

# Of one request: with its headers well below a message on the bus.
MAX_OUTPUT_BYTES = 128 * 1024
MAX_NOTE_CHARS = 2048
MAX_HOLDER_CHARS = 128
# A place in a stream that the collector takes: more digits would break the order of chunks.
MAX_PLACE = 10**15 - 1
# How the wrapper ends without a command: asked, and told no; nobody answered what it understands.
EXIT_REFUSED = 78
EXIT_UNANSWERED = 75
# A frame of event records: `tfevent <pass> <bytes> <path>\n`, and so many bytes: one whole record
# of the file. pass: 1, then once more 2 if the answer says `again`. path: in the folder, with what
# is no letter, digit or one of `/._-` as %XX.
FRAME_WORD = "tfevent"

_RUN, _FROM, _FINAL, _NOTE = (f"trialbus-{it}" for it in ("run", "from", "final", "note"))


def no_address(url: str) -> str:
    """Why the wrapper cannot speak to this gateway, "" if it can: it would end with
    EXIT_UNANSWERED."""
    if url[:8].lower() == "https://":
        return (
            "is https, which the wrapper of trials' pods does not speak: give it the gateway's "
            "plain HTTP address inside the cluster, or do without the wrapper"
        )
    if url[:7].lower() != "http://":
        return "is no http:// address"
    try:
        parts = urlsplit(url)
        well_formed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    plain = all("!" <= it <= "~" and it not in '"\\?#' for it in url)
    if not well_formed or not plain or "@" in parts.netloc:
        return "is no plain address: http://HOST[:PORT][/PATH]"
    return ""


class WrapKind(StrEnum):
    """What the wrapper ships. NONE: nothing, not even the end; the launcher ends the stream."""

    STDOUT = "stdout"
    FILE = "file"
    TFEVENT = "tfevent"
    NONE = "none"


# The wrapper's environment. url: of the gateway, http only. token: the trial's own; empty where the
# gateway asks nobody. path: of a file, or a folder of event files. restarts: `1` where the pod's
# restartPolicy may start the container again; then only a command that succeeds ends the stream.
URL_VARIABLE = "TRIALBUS_URL"
TOKEN_VARIABLE = "TRIALBUS_TOKEN"
TRIAL_VARIABLE = "TRIALBUS_TRIAL"
ATTEMPT_VARIABLE = "TRIALBUS_ATTEMPT"
HOLDER_VARIABLE = "TRIALBUS_POD_UID"
KIND_VARIABLE = "TRIALBUS_WRAP_KIND"
PATH_VARIABLE = "TRIALBUS_WRAP_PATH"
RESTARTS_VARIABLE = "TRIALBUS_WRAP_RESTARTS"
GRACE_VARIABLE = "TRIALBUS_GRACE_S"
TERMINATION_LOG_VARIABLE = "TRIALBUS_TERMINATION_LOG"
# Folder that what is not shipped yet waits in (an unlinked file); else the wrapper's own, else
# /tmp. And how large it may be, in bytes: when it is full the command waits.
SPOOL_VARIABLE = "TRIALBUS_SPOOL_DIR"
SPOOL_BYTES_VARIABLE = "TRIALBUS_SPOOL_BYTES"
# Folder that is copied to `kernel.checkpoints.CHECKPOINT_VARIABLE`, if that is not there yet.
COPY_VARIABLE = "TRIALBUS_CHECKPOINT_COPY_OF"

Holder = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_HOLDER_CHARS, pattern=r"^[!-~]+$")
]
Place = Annotated[int, Field(ge=0, le=MAX_PLACE)]
# Opaque: base64url.
Note = Annotated[str, StringConstraints(max_length=MAX_NOTE_CHARS, pattern=r"^[A-Za-z0-9_-]*$")]


class ClaimBody(Body):
    """holder: the uid of the pod: the first one has the attempt."""

    holder: Holder


class Claim(ClaimBody):
    """run: its id."""

    run: str


class ClaimReply(Body):
    """held: the attempt is the holder's, now or since before; its stream goes on at `stored_to`.
    Else `refused` says why, and `known` whether there is such an attempt."""

    held: bool
    stored_to: int = 0
    refused: str = ""
    known: bool = True


class Claimed(Body):
    """What the gateway answers: 200."""

    stored_to: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A piece of a stream: whole lines or frames, from place `start` on. run: its id. final:
    nothing follows, and a last line needs no end. note: of the newest answer, "" before."""

    run: str
    start: int
    data: bytes
    final: bool = False
    note: str = ""

    def request(self, subject: str) -> Request:
        headers = {_RUN: self.run, _FROM: str(self.start), _FINAL: str(int(self.final))}
        if self.note:
            headers[_NOTE] = self.note
        return Request(subject=subject, data=self.data, headers=headers)

    @classmethod
    def of(cls, request: Request) -> "Output":
        """Raises Poison."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        run, start = headers.get(_RUN, ""), headers.get(_FROM, "")
        if not run or not (start.isascii() and start.isdigit()):
            raise Poison("the piece of output says neither whose it is nor where it begins")
        if int(start) + len(request.data) > MAX_PLACE:
            raise Poison(f"the piece of output ends beyond {MAX_PLACE}")
        return cls(
            run=run,
            start=int(start),
            data=request.data,
            final=headers.get(_FINAL) == "1",
            note=headers.get(_NOTE, ""),
        )


class Shipped(Body):
    """What the gateway answers: 200. stored_to: what lies before it need not be sent again. stop:
    why the command is to be stopped; "": it may go on. note: for the next request. again: of event
    records: ship all of them once more, as pass 2, before the end. look_s: ask so often, with no
    bytes if there are none, whether to stop."""

    stored_to: Place
    final: bool = False
    stop: str = ""
    note: Note = ""
    again: bool = False
    look_s: float = 10.0


class OutputReply(Shipped):
    """refused: nothing more of it is wanted, and why. over: because the attempt is; then its
    command is to be stopped (409), else it goes on unheard (410). known: there is such an
    attempt."""

    refused: str = ""
    over: bool = False
    known: bool = True


class Termination(Body):
    """What the wrapper leaves in the container's termination message, as `{"trialbus": ...}`.

    ran: false: it did not try to run the command, and says why with an exit code of its own. exit:
    the code that it ends with. signal: that ended the command, 0: none. total: length of the
    stream; stored: how much of it is (less: metrics are missing). stop: the reason for which it
    stopped the command. oom: the kernel killed for want of memory in its container. error: why
    there was no command, or why metrics are missing.
    """

    ran: bool = True
    exit: int
    signal: int = 0
    total: int = 0
    stored: int = 0
    stop: str = ""
    oom: bool = False
    error: Annotated[str, Field(max_length=MAX_MESSAGE_CHARS)] = ""

    @classmethod
    def read(cls, message: str) -> "Termination | None":
        """None: the message is none of the wrapper's."""
        try:
            found: Any = json.loads(message)
            return cls.from_bytes(json.dumps(found["trialbus"]).encode())
        except (ValueError, TypeError, KeyError, RecursionError, Poison):
            return None
