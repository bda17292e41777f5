"""Parameters of Prometheus' read API: in the query, or in the form that a body is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from starlette.requests import Request

from trialbus.kernel.durations import duration_s
from trialbus_gateway.adapters.bodies import limited
from trialbus_gateway.adapters.rest.parameters import Parameter, Text, Texts
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.app.series_selection import Span
from trialbus_gateway.core.selectors import (
    NAME_LABEL,
    BadQuery,
    Matcher,
    MatchOp,
    Selector,
    parse_selector,
)
from trialbus_gateway.core.timelines import moments

FORM = "application/x-www-form-urlencoded"
# As in Prometheus: more than a display has points across.
MAX_MOMENTS = 11_000
MAX_SELECTORS = 4
# Of a query in the address, which is a part of a request's head; a form may hold longer ones.
_QUERY_CHARS, _MATCH_CHARS = 4_000, 1_000
_MAX_FIELDS = 100
_MAX_CHARS = 64
# The year 2286: what lies behind it is milliseconds.
_MAX_TIME = 1e10
_TIMED = "Seconds since the epoch, or RFC 3339."

QUERY = Text(
    name="query",
    about="A selector; also a number, `1+1` and `vector(1)`, by which clients check an address.",
    most_chars=_QUERY_CHARS,
    required=True,
)
TIME = Text(name="time", about=f"When; else now. {_TIMED}", most_chars=_MAX_CHARS)
START = Text(name="start", about=f"The first time. {_TIMED}", most_chars=_MAX_CHARS)
END = Text(name="end", about=f"The last time; else now. {_TIMED}", most_chars=_MAX_CHARS)
STEP = Text(
    name="step",
    about="Between two times: seconds, or a duration like `15s`.",
    most_chars=_MAX_CHARS,
    required=True,
)
MATCH = Texts(
    name="match[]",
    about="Selectors; series that fit one of them.",
    most_chars=_MATCH_CHARS,
    most=MAX_SELECTORS,
)
LIMIT = Text(name="limit", about="At most so many; 0: all.", most_chars=9)
METRIC = Text(name="metric", about="Only of this series.", most_chars=255)
# What clients send and what changes nothing here: there is nothing to be looked back for.
IGNORED = tuple(
    Text(name=name, about="Taken, and without effect.", most_chars=_MAX_CHARS)
    for name in ("timeout", "stats", "lookback_delta")
)


def in_form(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The same where a form may hold them: none of them has to be in the query."""
    return tuple(replace(it, required=False) for it in parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was asked, of the query and the form together. now: seconds since the epoch."""

    pairs: Sequence[tuple[str, str]]
    now: float

    def text(self, name: str) -> str | None:
        """The last that was given; None: none was, or an empty one."""
        return next((value for key, value in reversed(self.pairs) if key == name), None) or None

    def needed(self, name: str) -> str:
        """Raises Unreadable."""
        found = self.text(name)
        if found is None:
            raise Unreadable(f"the parameter {name} is missing")
        return found

    def time(self, name: str, default: float) -> float:
        """Raises Unreadable."""
        text = self.text(name)
        return default if text is None else _time(name, text)

    def moments(self) -> list[float]:
        """The times of a range. Raises Unreadable."""
        self.needed("start")
        self.needed("end")
        span, step = self.span(), _step(self.needed("step"))
        if (span.end - span.start) / step >= MAX_MOMENTS:
            raise Unreadable(
                f"more than {MAX_MOMENTS} times of each series: take a longer step, or a shorter "
                "time"
            )
        return moments(span.start, span.end, step)

    def span(self) -> Span:
        """Raises Unreadable."""
        start, end = self.time("start", 0.0), self.time("end", self.now)
        if end < start:
            raise Unreadable("end: lies before start")
        return Span(start=start, end=end)

    def selectors(self) -> list[Selector]:
        """Raises Unreadable."""
        texts = [value for key, value in self.pairs if key == MATCH.name]
        if len(texts) > MAX_SELECTORS:
            raise Unreadable(f"{MATCH.name}: more than {MAX_SELECTORS} of them")
        try:
            return [parse_selector(text) for text in texts]
        except BadQuery as error:
            raise Unreadable(f"{MATCH.name}: {error}") from error

    def limit(self) -> int | None:
        """None: none. Raises Unreadable."""
        text = self.text("limit")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= LIMIT.most_chars):
            raise Unreadable(f"limit: not a number from 0: {text[:100]!r}")
        return int(text) or None


# Everything: what is asked of all series.
ANY = Selector(matchers=(Matcher(label=NAME_LABEL, op=MatchOp.NOT_EQUAL, value=""),))


async def given(request: Request, known: Sequence[Parameter], now: float) -> Given:
    """Raises Unreadable, TooLarge, TooSlow."""
    pairs = list(request.query_params.multi_items())
    if request.method == "POST" and (body := await limited(request)):
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != FORM:
            raise Unreadable(f"the body is no form: {FORM} is taken, not {media_type[:100]!r}")
        pairs += _form(body)
    names = sorted(it.name for it in known if it.place == "query")
    unknown = next((name for name, _ in pairs if name not in names), None)
    if unknown is not None:
        raise Unreadable(f"no parameter {unknown[:100]!r}: known are {', '.join(names)}")
    return Given(pairs=pairs, now=now)


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode()
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise Unreadable(f"the body is no form: {error}") from error


def _time(name: str, text: str) -> float:
    try:
        found = float(text) if text[-1].isdigit() and "T" not in text else _moment(text)
    except (ValueError, OverflowError):
        found = math.nan
    if not 0 <= found <= _MAX_TIME:
        wanted = "seconds since the epoch or RFC 3339"
        raise Unreadable(f"{name}: not a time, {wanted}: {text[:100]!r}")
    return found


def _moment(text: str) -> float:
    """Without a zone it is in UTC."""
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()


def _step(text: str) -> float:
    try:
        found = duration_s(text) if text[-1].isalpha() else float(text)
    except ValueError:
        found = math.nan
    if not 0 < found <= _MAX_TIME:
        raise Unreadable(f"step: not above 0, seconds or a duration like 15s: {text[:100]!r}")
    return found
