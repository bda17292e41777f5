"""Parameters of paths, queries and headers: read and documented with the same limits."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request

from trialbus.kernel.ids import NAME_PATTERN
from trialbus_gateway.app.failures import Unreadable

Json = Any

# Longer decimal numbers mean no other value.
_MAX_NUMBER_CHARS = 64
_SHOWN_CHARS = 100
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_TRUTHS = {"": True, "true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(ABC):
    """example: of a value, as JSON; required of parameters of the path."""

    name: str
    about: str
    place: Literal["path", "query", "header"] = "query"
    required: bool = False
    example: Json = None

    @property
    @abstractmethod
    def schema(self) -> Mapping[str, Json]:
        """JSON Schema of its value."""

    def text(self, request: Request) -> str | None:
        """As it was sent, None: it was not."""
        match self.place:
            case "path":
                return str(request.path_params[self.name])
            case "query":
                return request.query_params.get(self.name)
            case "header":
                return request.headers.get(self.name)

    def refusal(self, text: str, wanted: str) -> Unreadable:
        return Unreadable(f"{self.name}: not {wanted}: {text[:_SHOWN_CHARS]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Parameter):
    """pattern: of the whole text, as JavaScript and Python both read it."""

    most_chars: int
    least_chars: int = 0
    pattern: str | None = None

    @property
    def schema(self) -> Mapping[str, Json]:
        return self.schema_of_one()

    def schema_of_one(self) -> dict[str, Json]:
        made: dict[str, Json] = {"type": "string", "maxLength": self.most_chars}
        if self.least_chars:
            made["minLength"] = self.least_chars
        return made if self.pattern is None else {**made, "pattern": self.pattern}

    def of(self, request: Request) -> str | None:
        """Raises Unreadable."""
        text = self.text(request)
        if text is not None:
            self.check(text)
        return text

    def check(self, text: str) -> None:
        """Raises Unreadable."""
        if not self.least_chars <= len(text) <= self.most_chars:
            raise self.refusal(text, f"of {self.least_chars} to {self.most_chars} characters")
        # Searched for, Python's `$` would also be before a last line feed.
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise self.refusal(text, f"of the pattern {self.pattern}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts(Text):
    """A parameter that may be given several times."""

    most: int

    @property
    def schema(self) -> Mapping[str, Json]:
        return {"type": "array", "items": self.schema_of_one(), "maxItems": self.most}

    def each(self, request: Request) -> tuple[str, ...]:
        """Raises Unreadable."""
        texts = tuple(request.query_params.getlist(self.name))
        if len(texts) > self.most:
            raise Unreadable(f"{self.name}: more than {self.most} of them")
        for text in texts:
            self.check(text)
        return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Parameter):
    """A whole number in decimal digits."""

    least: int
    most: int
    default: int | None = None

    @property
    def schema(self) -> Mapping[str, Json]:
        made = {"type": "integer", "minimum": self.least, "maximum": self.most}
        return made if self.default is None else {**made, "default": self.default}

    def of(self, request: Request) -> int | None:
        """Raises Unreadable."""
        text = self.text(request)
        if text is None:
            return self.default
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(self.most))
        if not digits or not self.least <= int(text) <= self.most:
            raise self.refusal(text, f"a number from {self.least} to {self.most}")
        return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Real(Parameter):
    """A finite number."""

    @property
    def schema(self) -> Mapping[str, Json]:
        return {"type": "number"}

    def of(self, request: Request) -> float | None:
        """Raises Unreadable."""
        text = self.text(request)
        if text is None:
            return None
        if len(text) > _MAX_NUMBER_CHARS or not _NUMBER.fullmatch(text):
            raise self.refusal(text, "a number")
        value = float(text)
        if not math.isfinite(value):
            raise self.refusal(text, "a number that a double can hold")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Parameter):
    """Absent is false."""

    @property
    def schema(self) -> Mapping[str, Json]:
        return {"type": "boolean", "default": False}

    def of(self, request: Request) -> bool:
        """Raises Unreadable."""
        text = self.text(request)
        if text is None:
            return False
        if text.lower() not in _TRUTHS:
            raise self.refusal(text, "true or false")
        return _TRUTHS[text.lower()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Parameter):
    """One of a closed set."""

    among: tuple[str, ...]
    default: str

    @property
    def schema(self) -> Mapping[str, Json]:
        return {"type": "string", "enum": list(self.among), "default": self.default}

    def of(self, request: Request) -> str:
        """Raises Unreadable."""
        text = self.text(request)
        if text is None:
            return self.default
        if text not in self.among:
            raise self.refusal(text, f"one of {', '.join(self.among)}")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices(Parameter):
    """Several of a closed set: given several times, or in one with commas."""

    among: tuple[str, ...]

    @property
    def schema(self) -> Mapping[str, Json]:
        item = {"type": "string", "enum": list(self.among)}
        return {"type": "array", "items": item, "maxItems": len(self.among), "uniqueItems": True}

    def of(self, request: Request) -> frozenset[str]:
        """Empty: none was given. Raises Unreadable."""
        given = ",".join(request.query_params.getlist(self.name))
        found = frozenset(text for text in given.split(",") if text)
        for text in sorted(found - set(self.among)):
            raise self.refusal(text, f"one of {', '.join(self.among)}")
        return found


NAME_SCHEMA_PATTERN = f"^{NAME_PATTERN.pattern}$"


def name_in_path(name: str, about: str, example: str) -> Text:
    """Of a DNS label in a path; whether it is one is said by who looks it up."""
    return Text(
        name=name,
        about=about,
        place="path",
        required=True,
        example=example,
        least_chars=1,
        most_chars=63,
        pattern=NAME_SCHEMA_PATTERN,
    )
