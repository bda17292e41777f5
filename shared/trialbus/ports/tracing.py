"""What the system needs of tracing. Real: OpenTelemetry; where it is off, nothing at all."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Protocol

from trialbus.kernel.traces import TraceContext

Attribute = str | bool | int | float


class SpanKind(Enum):
    """Of OpenTelemetry's span kinds: who waits for whom."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(Protocol):
    """A span that is going on."""

    def note(self, attributes: Mapping[str, Attribute]) -> None:
        """What is known of it only later."""

    def rename(self, name: str) -> None:
        """What it is called, where that is known only later."""

    def fail(self, why: str) -> None:
        """It did not do what it was for; an exception that leaves the span says so by itself."""


class Tracing(Protocol):
    @property
    def on(self) -> bool:
        """Whether any span is kept: where not, callers need not even ask who the parent is."""

    def current(self) -> TraceContext | None:
        """Of the span that this task is in; not sampled in one that nobody keeps, None outside of
        any."""

    def kept_trace(self) -> str | None:
        """The trace id of the current span, where somebody keeps it; far cheaper than `current`."""

    def outside(self) -> AbstractContextManager[object]:
        """No span is the current one in this block: for starting tasks that outlive it."""

    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: TraceContext | None = None,
        root: bool = False,
        links: Sequence[TraceContext] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> AbstractContextManager[Span]:
        """From here to the end of the block, the current span meanwhile.

        parent: another than the current one; one that is not sampled makes a span that is not
        kept, nor is what happens in it. Without a parent and a current span, one that is `root`
        begins a trace, kept if it is drawn so; of any other nothing is kept.
        """

    def record(
        self,
        name: str,
        *,
        context: TraceContext,
        parent: TraceContext,
        started_at: float,
        ended_at: float,
        attributes: Mapping[str, Attribute] | None = None,
        links: Sequence[TraceContext] = (),
        error: str = "",
    ) -> None:
        """A span that is over, under the id that is known for it (`kernel.traces`); times are
        seconds since the epoch. error: why it failed, "" if it did not."""

    def close(self) -> None:
        """Send what is left, and end."""


class _NoSpan:
    def note(self, attributes: Mapping[str, Attribute]) -> None:
        """Nobody keeps it."""

    def rename(self, name: str) -> None:
        """Nobody keeps it."""

    def fail(self, why: str) -> None:
        """Nobody keeps it."""


_NO_SPAN = nullcontext[Span](_NoSpan())


class NoTracing:
    """Tracing that is off."""

    @property
    def on(self) -> bool:
        return False

    def current(self) -> TraceContext | None:
        return None

    def kept_trace(self) -> str | None:
        return None

    def outside(self) -> AbstractContextManager[object]:
        return _NO_SPAN

    def span(self, *_args: object, **_options: object) -> AbstractContextManager[Span]:
        return _NO_SPAN

    def record(self, *_args: object, **_options: object) -> None:
        """Nobody keeps it."""

    def close(self) -> None:
        """There is nothing to send."""
