"""Every name and key of the system is built and parsed here, and nowhere else.

uid            an experiment's identity (a UUID); its name is unique only among the living
trial id       `<uid>.<index>`                 index: 0-based, in the order of opening
run id         `<uid>.<index>.<attempt>`       attempt: 1-based
               `<run id>.collector`            the process of its custom metrics collector
answer id      `<uid>:<request number>`        number: 1-based
chunk id       `<run id>@<from_byte>`          zero padded, so that ids sort by position
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

# Katib's alphabet for generated trial names: no vowels, so no words.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 8
_SPACE = len(_ALPHABET) ** _SUFFIX_LENGTH
# Coprime to the alphabet's size (27 = 3^3), so that index -> suffix is injective.
_STRIDE = 122_949_829_351
_BACK = pow(_STRIDE, -1, _SPACE)
_OFFSET_DIGITS = 15

# Also safe as a subject token, a file name, a DNS label and a Mongo value.
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """One attempt of one trial of one experiment."""

    uid: str
    index: int
    attempt: int

    def __str__(self) -> str:
        return run_id(self.uid, self.index, self.attempt)


def is_name(text: str) -> bool:
    """Whether `text` may be a namespace, experiment or trial name: a DNS label."""
    return NAME_PATTERN.fullmatch(text) is not None


def trial_id(uid: str, index: int) -> str:
    return f"{uid}.{index}"


def run_id(uid: str, index: int, attempt: int) -> str:
    return f"{uid}.{index}.{attempt}"


def collector_run_id(run: str) -> str:
    """Of the custom metrics collector beside a run."""
    return f"{run}.collector"


def parse_run_id(text: str) -> RunKey:
    """Raises ValueError when `text` is no run id."""
    uid, index, attempt = text.rsplit(".", 2)
    return RunKey(uid, int(index), int(attempt))


def answer_id(uid: str, number: int) -> str:
    return f"{uid}:{number}"


def chunk_id(run: str, from_byte: int) -> str:
    return f"{run}@{from_byte:0{_OFFSET_DIGITS}d}"


def trial_name(experiment: str, uid: str, index: int) -> str:
    """`<experiment>-` and 8 characters: never the same for two indices of one experiment.

    Namesakes in other namespaces start at another place of the same cycle, because Katib's
    DBManager knows trials by name alone.
    """
    number = (_start(uid) + index * _STRIDE) % _SPACE
    letters = []
    for _ in range(_SUFFIX_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return f"{experiment}-{''.join(letters)}"


def trial_index(experiment: str, uid: str, name: str) -> int | None:
    """The index of the trial that `trial_name` gives this name; None: it gives it to none."""
    letters = name.removeprefix(f"{experiment}-")
    digits = [_ALPHABET.find(letter) for letter in reversed(letters)]
    if len(digits) != _SUFFIX_LENGTH or min(digits) < 0:
        return None
    number = 0
    for digit in digits:
        number = number * len(_ALPHABET) + digit
    index = (number - _start(uid)) * _BACK % _SPACE
    return index if trial_name(experiment, uid, index) == name else None


@lru_cache(maxsize=1024)
def _start(uid: str) -> int:
    """Where the names of an experiment begin in the cycle of all suffixes."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big")


def seed_of(text: str) -> int:
    """A stable 63-bit seed from any text; never Python's salted hash()."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
