"""The asked trial around the code that runs: `with trial:` says so."""

from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol


class Current(Protocol):
    """What `report_metrics`, `should_stop` and `checkpoint_dir` need of it."""

    @property
    def checkpoint(self) -> Path | str | None: ...
    @property
    def traceparent(self) -> str | None: ...
    def should_stop(self) -> bool: ...
    def report(
        self,
        step: int | Mapping[str, float] | None = None,
        metrics: Mapping[str, float] | None = None,
        /,
        **values: float,
    ) -> object: ...


CURRENT: ContextVar[Current | None] = ContextVar("trialbus_trial", default=None)
