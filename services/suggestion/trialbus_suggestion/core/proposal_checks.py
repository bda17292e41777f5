"""Whether what an algorithm proposes is an answer to what it was asked: nothing else is stored."""

import math
from collections.abc import Sequence
from operator import index as whole
from typing import Any

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.limits import (
    MAX_ANSWER_BYTES,
    MAX_ARGUMENT_BYTES,
    MAX_LABEL_CHARS,
    MAX_LABELS,
)
from trialbus.kernel.proposals import PointTexts, Proposal, ProposalRequest, Study
from trialbus.kernel.space import SearchSpace
from trialbus.kernel.suggestion import Labels, Mark

# Of a value that is told in a message.
_TOLD_CHARS = 100


class Nonsense(Exception):
    """The algorithm's answer is none: what is wrong with it."""


class ProposalChecks:
    """Of one experiment. Takes some microseconds a value."""

    def __init__(self, study: Study, description: AlgorithmDescription) -> None:
        self._names = study.names or tuple(it.name for it in study.parameters)
        # The values of an architecture search are texts of the algorithm's own.
        self._space = None if study.nas is not None else SearchSpace(study.parameters)
        resource = description.resource_setting
        self._resource = study.algorithm.setting(resource) if resource else None

    def checked(self, proposal: Any, request: ProposalRequest) -> Proposal:
        """The same answer, as a copy that the algorithm cannot change any more, its values written
        as trials get them. Raises Nonsense."""
        if not isinstance(proposal, Proposal):
            raise Nonsense(f"gave {_kind(proposal)}, not a Proposal")
        given = _sequence(proposal.points, "points")
        if len(given) > request.count:
            raise Nonsense(f"gave {len(given)} points, not {request.count}")
        points = tuple(self._point(position, point) for position, point in enumerate(given))
        marks = _sequence(proposal.marks, "marks")
        if marks and len(marks) != len(points):
            raise Nonsense(f"gave {len(marks)} marks for {len(points)} points")
        checked = Proposal(
            points=points,
            exhausted=bool(proposal.exhausted),
            marks=tuple(_mark(mark, request.first + i) for i, mark in enumerate(marks)),
        )
        size = sum(len(text) for point in points for text in point)
        if size > MAX_ANSWER_BYTES:
            raise Nonsense(f"gave values of {size} characters, more than {MAX_ANSWER_BYTES}")
        return checked

    def _point(self, position: int, point: Any) -> PointTexts:
        values = _sequence(point, f"point {position + 1}")
        if len(values) != len(self._names):
            wanted = ", ".join(self._names)
            raise Nonsense(f"gave {len(values)} values for {len(self._names)} ({wanted:.500})")
        return tuple(map(self._text, range(len(values)), values))

    def _text(self, position: int, value: Any) -> str:
        name = self._names[position]
        if not isinstance(value, str):
            raise Nonsense(f"gave {name} no text, but {_kind(value)}: {_told(value)}")
        text = str.__str__(value)
        if self._space is None:
            size = _size(text, name)
            if size > MAX_ARGUMENT_BYTES:
                raise Nonsense(
                    f"gave {name} a text of {size} bytes, more than {MAX_ARGUMENT_BYTES}"
                )
            return text
        if name == self._resource:
            return _number(name, text)
        axis = self._space.axes[position]
        try:
            return axis.text(axis.parse(text))
        except (ValueError, ArithmeticError) as error:
            raise Nonsense(f"gave {name} the value {_told(text)}: outside its space") from error


def _number(name: str, text: str) -> str:
    """Of the resource parameter, which may go beyond its space."""
    try:
        is_finite = math.isfinite(float(text))
    except ValueError:
        is_finite = False
    if not is_finite:
        raise Nonsense(f"gave {name} the value {_told(text)}, which is no finite number")
    return text.strip()


def _mark(mark: Any, index: int) -> Mark:
    """Of the point for trial `index`."""
    if not isinstance(mark, Mark):
        raise Nonsense(f"gave {_kind(mark)}, not a Mark")
    parent = mark.parent
    if parent is not None:
        try:
            parent = whole(parent)
        except TypeError as error:
            raise Nonsense(f"gave a parent that is no index: {_told(parent)}") from error
        if not 0 <= parent < index:
            raise Nonsense(f"gave trial {index} the parent {parent}, which is no earlier trial")
    return Mark(parent=parent, labels=_labels(mark.labels))


def _labels(given: Any) -> Labels:
    labels = _sequence(given, "labels")
    if len(labels) > MAX_LABELS:
        raise Nonsense(f"gave {len(labels)} labels, more than {MAX_LABELS}")
    return tuple(map(_label, labels))


def _label(given: Any) -> tuple[str, str]:
    pair = _sequence(given, "a label")
    if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
        raise Nonsense(f"gave a label that is no pair of texts: {_told(given)}")
    name, value = map(str.__str__, pair)
    _size(name + value, "a label")
    if max(len(name), len(value)) > MAX_LABEL_CHARS:
        raise Nonsense(f"gave a label of more than {MAX_LABEL_CHARS} characters: {_told(name)}")
    return name, value


def _size(text: str, what: str) -> int:
    """In bytes. Half a surrogate pair can neither be stored nor given to a trial."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise Nonsense(f"gave {what} a text that is no Unicode: {_told(text)}") from error


def _sequence(given: Any, what: str) -> Sequence[Any]:
    if not isinstance(given, tuple | list):
        raise Nonsense(f"gave {what} as {_kind(given)}, not as a tuple")
    return given


def _kind(value: object) -> str:
    return type(value).__name__


def _told(value: object) -> str:
    return repr(value)[:_TOLD_CHARS]
