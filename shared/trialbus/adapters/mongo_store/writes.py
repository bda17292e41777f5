"""A group of compare-and-sets as one unordered bulk write, and its answer as outcomes. Pure.

A replacement is an update of {_id, version} with `upsert=True`. A document whose version moved is
not matched, so the server tries to insert it, which fails: that is how a lost race is told from a
won one, write by write (a plain bulk update only tells totals). Collections without the validator
answer 11000 (the `_id` exists), those with it 121, as for a document that is gone. An insert beside
replacements is an update, too, that finds nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import BSONError
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure

from trialbus.adapters.mongo_store.queries import REVIVED
from trialbus.kernel.errors import Transient
from trialbus.ports.store import Document, Outcome, Unstorable, Write

Operation = InsertOne[Document] | UpdateOne

# The server's limit for a document, less room for what an update wraps around it.
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024 - 16 * 1024
# The server's limit for nested objects and lists.
MAX_DOCUMENT_LEVELS = 180
# Raised by the driver before it sends anything: values that BSON cannot hold.
ENCODING_ERRORS = (BSONError, OverflowError, UnicodeError, RecursionError)
# The server's answers to a message that it cannot read; nothing of it was applied.
_TOO_DEEP = 15
_TOO_LARGE = 10334

_DUPLICATE_KEY = 11000
_FAILED_VALIDATION = 121
# The server's state, not the document's: a repeat may succeed.
TRANSIENT_CODES = frozenset(
    {
        24,  # LockTimeout
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed: not known to be durable
        91,  # ShutdownInProgress
        112,  # WriteConflict
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Writes that can be sent together; `unstorable`: index of a write -> why it cannot."""

    writes: Sequence[Write]
    unstorable: Mapping[int, str]

    def operations(self) -> list[Operation]:
        sent = [self.writes[index] for index in self._sent()]
        # Inserts and updates would be two commands, each of which waits for the disk.
        is_mixed = len({write.base is None for write in sent}) > 1
        return [_operation(write, as_update=is_mixed) for write in sent]

    def outcomes(self, details: Mapping[str, Any]) -> list[Outcome]:
        """`details`: of the bulk write's error, {} if it had none."""
        if details.get("writeConcernErrors"):
            raise Transient(f"a write is not known to be durable: {details['writeConcernErrors']}")
        sent = self._sent()
        reasons = dict(self.unstorable)
        outcomes: list[Outcome | None] = [Outcome.DONE] * len(self.writes)
        for error in details.get("writeErrors", ()):
            index = sent[error["index"]]
            outcomes[index] = _outcome(error, inserts=self.writes[index].base is None)
            if outcomes[index] is None:
                reasons[index] = f"{error.get('errmsg')} (code {error.get('code')})"
        if not reasons:
            return [outcome for outcome in outcomes if outcome is not None]
        for index in self.unstorable:
            outcomes[index] = None
        raise Unstorable({self.writes[index].id: why for index, why in reasons.items()}, outcomes)

    def _sent(self) -> list[int]:
        return [index for index in range(len(self.writes)) if index not in self.unstorable]


def is_unreadable(error: Exception) -> bool:
    """Whether one document made the whole message fail, before any of it was applied."""
    if isinstance(error, OperationFailure) and not isinstance(error, BulkWriteError):
        return error.code in {_TOO_DEEP, _TOO_LARGE}
    return isinstance(error, ENCODING_ERRORS)


def encodable(writes: Sequence[Write]) -> Group:
    """The group with those documents named that cannot be sent at all. Encodes every document."""
    unstorable = {}
    for index, write in enumerate(writes):
        try:
            levels = _levels(write.document)
            size_bytes = len(bson.encode(write.document))
        except ENCODING_ERRORS as error:
            unstorable[index] = f"cannot be encoded: {error}"
        else:
            if levels > MAX_DOCUMENT_LEVELS:
                unstorable[index] = f"{levels} levels, at most {MAX_DOCUMENT_LEVELS} can be kept"
            if size_bytes > MAX_DOCUMENT_BYTES:
                unstorable[index] = f"{size_bytes} bytes, at most {MAX_DOCUMENT_BYTES} can be kept"
    return Group(writes=writes, unstorable=unstorable)


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    if isinstance(value, (list, tuple)):
        return 1 + max(map(_levels, value), default=0)
    return 0


def _operation(write: Write, *, as_update: bool) -> Operation:
    """as_update: an insert, too."""
    document, base = write.document, write.base
    if base is None and not as_update:
        return InsertOne(document)
    if base is None:
        fields = {name: value for name, value in document.items() if name != "_id"}
        # Matches nothing, so it is inserted, or fails because there is one.
        return UpdateOne(
            {"_id": write.id, "version": {"$lt": 0}}, {"$setOnInsert": fields}, upsert=True
        )
    update: dict[str, Any] = {"$set": _changed(base, document), "$setOnInsert": {REVIVED: True}}
    gone = base.keys() - document.keys()
    if gone:
        update["$unset"] = dict.fromkeys(gone, "")
    return UpdateOne({"_id": write.id, "version": base["version"]}, update, upsert=True)


def _changed(base: Document, document: Document) -> Document:
    """Without the scalars that are as before. Containers are always sent: the server compares them
    faster than we can do it exactly (1 == True, order of keys), and logs only what differs."""
    return {
        name: value
        for name, value in document.items()
        if name != "_id"
        and not (
            (value is None or isinstance(value, (str, int)))
            and name in base
            and type(base[name]) is type(value)
            and base[name] == value
        )
    }


def _outcome(error: Mapping[str, Any], *, inserts: bool) -> Outcome | None:
    """None: this document can never be stored."""
    code = error.get("code")
    if code in TRANSIENT_CODES:
        raise Transient(f"a write failed: {error.get('errmsg')} (code {code})")
    if code == _DUPLICATE_KEY:
        return Outcome.CONFLICT if "_id" in error.get("keyPattern", {}) else Outcome.TAKEN
    if code == _FAILED_VALIDATION and not inserts:
        # `Write` has checked the rest of the validator, so it was `revived`.
        return Outcome.CONFLICT
    return None
