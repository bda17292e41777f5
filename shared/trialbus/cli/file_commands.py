"""`trialbus export` and `import`: trials in files."""

# ruff: noqa: PLC0415 - so that `trialbus --help` is there at once

from typing import Annotated

import typer

from trialbus.cli.choices import FileFormat
from trialbus.cli.options import DataDir, ExperimentName, Namespace, Url

FileForm = Annotated[
    FileFormat | None,
    typer.Option("--format", help="Default: by the file's name, else csv."),
]


def export(
    name: ExperimentName,
    form: FileForm = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")
    ] = None,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Write an experiment's trials as CSV, JSON Lines or Parquet."""
    from trialbus.cli import exporting, stacks

    api = stacks.connect(data_dir, url)
    exporting.export(api, name, namespace=namespace, form=form, output=output)


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Trials, one a row or line.")],
    name: Annotated[str, typer.Option("--name", help="Of the experiment that they become.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where it is to be.")
    ] = "default",
    objective: Annotated[
        str | None, typer.Option("--objective", help="The metric that was tuned.")
    ] = None,
    minimize: Annotated[
        bool | None, typer.Option("--minimize/--maximize", help="Which of its values are good.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like", metavar="FILE", help="An Experiment whose objective and parameters count."
        ),
    ] = None,
    form: FileForm = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Make an experiment that has ended of the trials in a file."""
    from trialbus.cli import importing, reading, stacks

    said = None if like is None else reading.read_experiment(like).document
    wanted = importing.Wanted(
        name=name, namespace=namespace, objective=objective, minimize=minimize, like=said
    )
    done = importing.import_file(stacks.connect(data_dir, url), file, wanted, form)
    typer.echo(importing.told(done))
