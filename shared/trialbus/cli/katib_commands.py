"""`trialbus import katib`: what it reads, and what it tells of it."""

from collections.abc import Callable, Sequence

import typer

from trialbus.cli import katib_config, katib_import
from trialbus.cli.api import Api
from trialbus.cli.failures import FAILED, REFUSED, CommandFailed
from trialbus.cli.katib_objects import Export, read_export
from trialbus.cli.observation_dump import Dump, read_dump

# In the place of a file's name.
WORD = "katib"


def import_katib(
    files: Sequence[str],
    *,
    observations: str | None,
    go_on: bool,
    connect: Callable[[], Api],
) -> None:
    """Raises CommandFailed when anything was refused, after the others are done."""
    export = read_export(files)
    if not export.experiments and not export.configs:
        raise CommandFailed(
            [f"no Experiment of Katib in {', '.join(files)}", *_others(export)], REFUSED
        )
    for config in export.configs:
        typer.echo("\n".join(katib_config.read(config).lines()))
    if not export.experiments:
        return
    names = {
        str(trial["metadata"]["name"]) for trials in export.trials.values() for trial in trials
    }
    dump = Dump() if observations is None else read_dump(observations, names)
    outcomes = katib_import.import_katib(
        connect(), export, dump.trials, go_on=go_on, tell=lambda it: typer.echo(_told(it))
    )
    for line in (*_others(export), *_left_out(export, dump)):
        typer.echo(line)
    refused = [f"{it.namespace}/{it.name}" for it in outcomes if it.refused]
    if refused:
        raise CommandFailed(f"not brought in: {', '.join(refused)}", FAILED)


def _told(outcome: katib_import.Outcome) -> str:
    where = f"{outcome.namespace}/{outcome.name}"
    if outcome.refused:
        return "\n".join([f"{where}: refused", *(f"  {line}" for line in outcome.refused)])
    points = f" with {outcome.points} points" if outcome.points else ""
    lines = [f"{where}: {outcome.trials} trials{points} are there"]
    if outcome.running:
        lines.append(f"  {outcome.running} trials had not ended and are left out")
    lines += [f"  {note}" for note in outcome.notes]
    if outcome.goes_on:
        lines.append(f"  {outcome.namespace}/{outcome.goes_on} goes on from them")
    return "\n".join(lines)


def _others(export: Export) -> list[str]:
    """A Suggestion says nothing that its experiment and trials do not."""
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(export.others.items()))
    return [f"of no use here: {counts}"] if counts else []


def _left_out(export: Export, dump: Dump) -> list[str]:
    lines = []
    orphans = sorted(set(export.trials) - set(export.experiments))
    for namespace, name in orphans:
        count = len(export.trials[namespace, name])
        lines.append(
            f"{namespace}/{name}: {count} trials, but no Experiment of that name: left out"
        )
    if dump.texts:
        lines.append(f"{dump.texts} observations are no numbers: left out of the curves")
    if dump.broken:
        lines.append(f"{dump.broken} rows of the dump cannot be read: left out")
    return lines
