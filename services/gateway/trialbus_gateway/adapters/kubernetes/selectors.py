"""Label and field selectors: apimachinery's grammar (pkg/labels/selector.go, pkg/fields)."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from trialbus_gateway.app.failures import Unreadable

Operator = Literal["exists", "absent", "in", "notin", ">", "<"]

_TOKEN = re.compile(r"\s*(?:(==|!=|=|!|,|\(|\)|>|<)|([^\s,()=!<>]+))")
_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
_INTEGER = re.compile(r"[+-]?\d{1,19}")
FIELDS = ("metadata.name", "metadata.namespace")
_FIELD_TERM = re.compile(r"([^=!]*)(==|!=|=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """On labels. values: of `in` and `notin` any number, of `>` and `<` one integer."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        there = self.key in labels
        match self.operator:
            case "exists":
                return there
            case "absent":
                return not there
            case "in":
                return there and str(labels[self.key]) in self.values
            case "notin":
                return not there or str(labels[self.key]) not in self.values
            case ">" | "<":
                return there and self._compares(str(labels[self.key]))
            case _:
                assert_never(self.operator)

    def _compares(self, text: str) -> bool:
        if not _INTEGER.fullmatch(text):
            return False
        [bound] = self.values
        return int(text) > int(bound) if self.operator == ">" else int(text) < int(bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTerm:
    """On a field, by its path."""

    field: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """All of them must hold. fields: of metadata.name and metadata.namespace."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    def fits(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.holds(labels) for requirement in self.labels)

    def fits_name(self, namespace: str, name: str) -> bool:
        found = {"metadata.name": name, "metadata.namespace": namespace}
        return all((found[term.field] == term.value) is term.equal for term in self.fields)

    def one_label(self, key: str) -> str | None:
        """The only value that a label can have."""
        wanted = [it.values for it in self.labels if it.key == key and it.operator == "in"]
        return next((next(iter(values)) for values in wanted if len(values) == 1), None)

    def one_field(self, field: str) -> str | None:
        """The only value that a field can have."""
        return next((it.value for it in self.fields if it.field == field and it.equal), None)


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Raises Unreadable."""
    return tuple(_Labels(text).requirements())


def parse_fields(text: str, *, known: Sequence[str] = FIELDS) -> tuple[FieldTerm, ...]:
    """known: what may be asked for. Raises Unreadable."""
    terms = []
    for piece in filter(None, re.split(r"(?<!\\),", text)):
        found = _FIELD_TERM.fullmatch(piece)
        if found is None:
            raise Unreadable(f"invalid selector: {text!r}; can't understand {piece!r}")
        field, operator, value = found.groups()
        if field not in known:
            raise Unreadable(f"field label not supported: {field}")
        value = re.sub(r"\\([\\,=])", r"\1", value)
        terms.append(FieldTerm(field=field, equal=operator != "!=", value=value))
    return tuple(terms)


class _Labels:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0

    def requirements(self) -> Iterator[Requirement]:
        if not self._tokens:
            return
        while True:
            yield self._requirement()
            if self._next == len(self._tokens):
                return
            self._take(lambda token: token == ",", "','")

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._next += 1
        key = _key(self._word())
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key=key, operator="absent" if negated else "exists")
        if negated:
            raise self._wrong("','")
        self._next += 1
        match operator:
            case "=" | "==":
                return Requirement(key=key, operator="in", values=frozenset({self._value()}))
            case "!=":
                return Requirement(key=key, operator="notin", values=frozenset({self._value()}))
            case "in":
                return Requirement(key=key, operator="in", values=self._values())
            case "notin":
                return Requirement(key=key, operator="notin", values=self._values())
            case ">":
                return Requirement(key=key, operator=">", values=self._bound())
            case "<":
                return Requirement(key=key, operator="<", values=self._bound())
        self._next -= 1
        raise self._wrong("in, notin, =, ==, !=, >, <")

    def _values(self) -> frozenset[str]:
        self._take(lambda token: token == "(", "'('")
        values = {self._value()}
        while self._peek() == ",":
            self._next += 1
            values.add(self._value())
        self._take(lambda token: token == ")", "',' or ')'")
        return frozenset(values)

    def _value(self) -> str:
        """It may be empty."""
        if self._peek() in ("", ",", ")"):
            return ""
        value = self._word()
        if not _NAME.fullmatch(value):
            raise Unreadable(
                f"unable to parse requirement: values: Invalid value: {value!r}: a valid label "
                "must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
                "and must start and end with an alphanumeric character, at most 63 of them"
            )
        return value

    def _bound(self) -> frozenset[str]:
        value = self._word()
        if not _INTEGER.fullmatch(value):
            raise Unreadable(
                f"unable to parse requirement: values[0]: Invalid value: {value!r}: "
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        return frozenset({value})

    def _word(self) -> str:
        return self._take(lambda token: token[0] not in ",()=!<>", "identifier")

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self, wanted: Callable[[str], bool], told: str) -> str:
        token = self._peek()
        if not token or not wanted(token):
            raise self._wrong(told)
        self._next += 1
        return token

    def _wrong(self, expected: str) -> Unreadable:
        return Unreadable(
            f"unable to parse requirement: found '{self._peek()}', expected: {expected}"
        )


def _tokens(text: str) -> Iterator[str]:
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        # Every character begins a token.
        assert found is not None
        place = found.end()
        yield found[1] or found[2]


def _key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if (slash and not _PREFIX.fullmatch(prefix)) or not _NAME.fullmatch(name):
        raise Unreadable(
            f"unable to parse requirement: <nil>: Invalid value: {text!r}: name part must consist "
            "of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character"
        )
    return text
