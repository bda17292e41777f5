"""The part of PromQL that is understood: selectors, and the numbers that clients check with.

    expression = selector | number | number "+" number | "vector(" number ")"
    selector   = name [ "{" [ matchers ] "}" ] | "{" matchers "}"
    matchers   = label ("=" | "!=" | "=~" | "!~") string { "," label ... } [ "," ]

What is accepted here means the same in Prometheus (a property test against another parser).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from trialbus.kernel.go_regexps import GoRegexpError, compile_go_regexp

NAME_LABEL = "__name__"
MAX_QUERY_CHARS = 16 * 1024
POSSIBLE = (
    'only a selector can be asked here, such as experiment_best_value{namespace="lab",'
    'experiment="tune"} with =, !=, =~ and !~; no functions, operators, ranges, offsets'
)
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_SCALAR = re.compile(rf"\s*({_NUMBER})\s*(?:\+\s*({_NUMBER})\s*)?", re.ASCII)
_VECTOR = re.compile(rf"\s*vector\s*\(\s*({_NUMBER})\s*\)\s*", re.ASCII)
_SPACE = re.compile(r"[ \t\r\n]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"|' + r"'((?:[^'\\\n]|\\.)*)'|`([^`]*)`")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
# Words that begin or join an expression, so that they name nothing.
_RESERVED = frozenset({"and", "or", "unless", "atan2", "inf", "nan", "offset", "by", "without"})
_LITERALS = re.compile(r"\(?([-\w]+(?:\|[-\w]+)*)\)?", re.ASCII)


class BadQuery(ValueError):
    """It is no selector; the message says where and what is possible."""


class MatchOp(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """compiled: of an expression, made ready for whole values."""

    label: str
    op: MatchOp
    value: str
    compiled: Any = None

    def fits(self, value: str) -> bool:
        """value: "" where a series lacks the label."""
        match self.op:
            case MatchOp.EQUAL:
                return value == self.value
            case MatchOp.NOT_EQUAL:
                return value != self.value
            case MatchOp.MATCHES:
                return self.compiled.fullmatch(value) is not None
            case MatchOp.MATCHES_NOT:
                return self.compiled.fullmatch(value) is None

    @property
    def values(self) -> frozenset[str] | None:
        """All values that fit, where they are named one by one; None: not so."""
        if self.op is MatchOp.EQUAL:
            return frozenset({self.value})
        if self.op is MatchOp.MATCHES and (found := _LITERALS.fullmatch(self.value)):
            return frozenset(found[1].split("|"))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """All matchers must hold; the name of a series is its label `__name__`."""

    matchers: tuple[Matcher, ...]

    def of(self, label: str) -> tuple[Matcher, ...]:
        return tuple(it for it in self.matchers if it.label == label)

    def fits(self, label: str, value: str) -> bool:
        return all(it.fits(value) for it in self.matchers if it.label == label)

    def named(self, label: str) -> frozenset[str] | None:
        """The values of a label that are named one by one and fit; None: they are not named."""
        known = [it.values for it in self.of(label)]
        sets = [values for values in known if values is not None]
        if not sets:
            return None
        return frozenset(it for it in frozenset.intersection(*sets) if self.fits(label, it))


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """is_vector: told as a series without labels."""

    value: float
    is_vector: bool = False


def parse_query(text: str) -> Selector | Number:
    """Raises BadQuery."""
    if len(text) > MAX_QUERY_CHARS:
        raise BadQuery(f"the query is longer than {MAX_QUERY_CHARS} characters")
    if found := _SCALAR.fullmatch(text):
        return Number(value=float(found[1]) + float(found[2] or 0))
    if found := _VECTOR.fullmatch(text):
        return Number(value=float(found[1]), is_vector=True)
    return parse_selector(text)


def parse_selector(text: str) -> Selector:
    """Raises BadQuery."""
    if len(text) > MAX_QUERY_CHARS:
        raise BadQuery(f"the selector is longer than {MAX_QUERY_CHARS} characters")
    return _Reader(text).selector()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selector(self) -> Selector:
        self._skip()
        matchers: list[Matcher] = []
        if name := self._take(_METRIC):
            if name[0].lower() in _RESERVED:
                self._fail(f"{name[0]!r} is no name of a series")
            matchers.append(Matcher(label=NAME_LABEL, op=MatchOp.EQUAL, value=name[0]))
        self._skip()
        if self._literal("{"):
            matchers += self._matchers(named=bool(matchers))
        self._skip()
        if self._at < len(self._text):
            self._fail(f"unexpected {self._text[self._at : self._at + 20]!r}")
        if all(it.fits("") for it in matchers):
            self._fail("no matcher that an absent label does not meet")
        return Selector(matchers=tuple(matchers))

    def _matchers(self, *, named: bool) -> list[Matcher]:
        found: list[Matcher] = []
        while True:
            self._skip()
            if self._literal("}"):
                return found
            matcher = self._matcher()
            if named and matcher.label == NAME_LABEL:
                self._fail("the name is given twice")
            found.append(matcher)
            self._skip()
            if self._literal(","):
                continue
            if not self._literal("}"):
                self._fail("a ',' or '}' is missing")
            return found

    def _matcher(self) -> Matcher:
        label = self._take(_LABEL) or self._fail("the name of a label is missing")
        self._skip()
        op = self._take(_OPERATOR) or self._fail("one of =, !=, =~, !~ is missing")
        self._skip()
        quoted = self._take(_QUOTED) or self._fail("a string in quotes is missing")
        raw = quoted[3]
        value = self._unescaped(quoted[0][0], quoted[1] or quoted[2] or "") if raw is None else raw
        kind = MatchOp(op[0])
        if kind not in (MatchOp.MATCHES, MatchOp.MATCHES_NOT):
            return Matcher(label=label[0], op=kind, value=value)
        try:
            # As Prometheus does: the whole value, and a dot is also a new line.
            compiled = compile_go_regexp(f"(?s:{value})").compiled
        except GoRegexpError as error:
            self._fail(f"the expression {value[:100]!r}: {error}")
        return Matcher(label=label[0], op=kind, value=value, compiled=compiled)

    def _unescaped(self, quote: str, text: str) -> str:
        def one(found: re.Match[str]) -> str:
            if found[1] == quote:
                return quote
            return _ESCAPES.get(found[1]) or self._fail(f"the escape {found[0]!r} is not known")

        return _ESCAPE.sub(one, text)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _literal(self, letter: str) -> bool:
        if not self._text.startswith(letter, self._at):
            return False
        self._at += 1
        return True

    def _skip(self) -> None:
        self._take(_SPACE)

    def _fail(self, why: str) -> NoReturn:
        raise BadQuery(f"at character {self._at + 1}: {why}; {POSSIBLE}")
