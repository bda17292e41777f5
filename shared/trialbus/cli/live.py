"""The live display of a running experiment, by Rich."""

from types import TracebackType
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trialbus.cli.progress import STATES, Progress, short, spent_time, times

_COLOURS = {"running": "cyan", "succeeded": "green", "failed": "red", "metricsUnavailable": "red"}
_REFRESHES_PER_SECOND = 8


class LiveDisplay:
    """Redrawn in place; the last picture stays."""

    def __init__(self, out: TextIO) -> None:
        console = Console(file=out)
        self._live = Live(console=console, refresh_per_second=_REFRESHES_PER_SECOND)

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, progress: Progress, elapsed_s: float, left_s: float | None) -> None:
        self._live.update(picture(progress, elapsed_s, left_s))


def picture(progress: Progress, elapsed_s: float, left_s: float | None) -> Group:
    """Title, bar, trials by state, best so far."""
    title = Text.assemble(
        (f"{progress.namespace}/{progress.name}", "bold"), f"  {progress.phase}  "
    )
    title.append(times(elapsed_s, left_s), "dim")
    rows = [title]
    parts: list[Text | Table] = [*rows]
    parts.append(_bar(progress))
    parts.append(_states(progress))
    if time := spent_time(progress):
        parts.append(Text(time, "dim"))
    if progress.best is not None:
        parts.append(_best(progress))
    return Group(*parts)


def _bar(progress: Progress) -> Table:
    row = Table.grid(padding=(0, 1))
    if progress.max_trials is None:
        row.add_row(Text(f"{progress.finished} trials done"))
    else:
        bar = ProgressBar(total=progress.max_trials, completed=progress.finished, width=40)
        row.add_row(bar, Text(f"{progress.finished}/{progress.max_trials} trials"))
    return row


def _states(progress: Progress) -> Text:
    line = Text()
    for key, word in STATES:
        count = progress.trials.get(key, 0)
        if count:
            line.append(f"{count} {word}  ", _COLOURS.get(key, ""))
    return line


def _best(progress: Progress) -> Text:
    assert progress.best is not None
    best = progress.best
    parameters = "  ".join(f"{name}={value}" for name, value in best.parameters.items())
    line = Text.assemble(
        "best ", (f"{progress.metric}={short(best.value)}", "bold green"), f"  {parameters}"
    )
    line.append(f"  ({best.trial})", "dim")
    return line
