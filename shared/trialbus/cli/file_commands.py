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


Exports = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[EXPORT]...",
        help="With `katib`: what `kubectl get experiments,trials -A -o json` wrote, and its "
        "ConfigMap katib-config.",
    ),
]
Observations = Annotated[
    str | None,
    typer.Option(
        "--observations", metavar="DUMP", help="With `katib`: its table observation_logs."
    ),
]


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE|katib", help="Trials, one a row or line; or `katib`.")
    ],
    exports: Exports = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the experiment that the trials become.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Where it is to be. [default: default]")
    ] = None,
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
    observations: Observations = None,
    go_on: Annotated[
        bool, typer.Option("--continue", help="With `katib`: what had not ended goes on here.")
    ] = False,
    form: FileForm = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Make an experiment that has ended of the trials in a file; or bring in those of Katib."""
    from trialbus.cli import importing, katib_commands, names, reading, stacks

    if file == katib_commands.WORD and exports:
        katib_commands.import_katib(
            exports,
            observations=observations,
            go_on=go_on,
            connect=lambda: stacks.connect(data_dir, url),
        )
        return
    if exports or observations or go_on:
        raise typer.BadParameter("several files, --observations and --continue are for `katib`")
    if name is None:
        raise typer.BadParameter("--name is needed: of the experiment that the trials become")
    said = None if like is None else reading.read_experiment(like).document
    place, name = names.split_name(name, namespace)
    wanted = importing.Wanted(
        name=name,
        namespace=place or names.DEFAULT_NAMESPACE,
        objective=objective,
        minimize=minimize,
        like=said,
    )
    done = importing.import_file(stacks.connect(data_dir, url), file, wanted, form)
    typer.echo(importing.told(done))
