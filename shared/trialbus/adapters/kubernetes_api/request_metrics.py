"""Who is told of the requests to an API server."""

from typing import Protocol


class RequestObserver(Protocol):
    def waited(self, waited_s: float) -> None:
        """A request had its turn, after so long."""

    def answered(self, verb: str, code: int, taken_s: float) -> None:
        """One request, repeats too. verb: `get`, `list`, `create`, `patch`, `delete`, `watch` or
        `log`; of what goes on only its beginning. code: HTTP status, 0: no answer came."""


class NobodyObserves:
    def waited(self, waited_s: float) -> None:
        """Nobody wants to know."""

    def answered(self, verb: str, code: int, taken_s: float) -> None:
        """Nobody wants to know."""
