"""The `trialbus` command. Each command loads what it needs when it is called."""

# ruff: noqa: PLC0415 - so that `trialbus --help` is there at once

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from trialbus.cli.auth_commands import auth
from trialbus.cli.choices import Format, Goal, Kind
from trialbus.cli.doctor_commands import doctor
from trialbus.cli.failures import CommandFailed
from trialbus.cli.file_commands import export, import_
from trialbus.cli.nats_auth_commands import nats, provision
from trialbus.cli.options import (
    Anew,
    AnyName,
    AsJson,
    DataDir,
    ExperimentName,
    FileNamespace,
    KeepUp,
    MapImage,
    MapPath,
    Namespace,
    Observe,
    Secure,
    Tail,
    Token,
    TrialName,
    TrialNamespace,
    Url,
)
from trialbus.cli.store_commands import initiate

app = typer.Typer(
    name="trialbus",
    help="Hyperparameter tuning as events: Katib's experiments over NATS and MongoDB.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(auth)
auth.command()(nats)
app.command()(export)
app.command(name="import")(import_)


@app.callback()
def identify(token: Token = None) -> None:
    # For whoever talks to a gateway; the help of the program is the one given above.
    from trialbus.cli import secret_files

    token = token or secret_files.token_of(os.environ)
    if token:
        os.environ["TRIALBUS_TOKEN"] = token


@app.command()
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An Experiment; - reads stdin.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the final Experiment on stdout, nothing else.")
    ] = False,
    keep_up: KeepUp = False,
    anew: Anew = False,
    namespace: FileNamespace = None,
    map_image: MapImage = None,
    map_path: MapPath = None,
    observe: Observe = False,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Run an experiment to its end, with all that it needs."""
    from trialbus.cli import mappings, running

    mappings.take_mappings(map_image or (), map_path or (), url=url)
    code = running.run(
        file,
        data_dir=data_dir,
        url=url,
        namespace=namespace,
        as_json=as_json,
        keep_up=keep_up,
        anew=anew,
        observe=observe,
    )
    raise typer.Exit(code)


@app.command()
def up(
    map_image: MapImage = None,
    map_path: MapPath = None,
    secure: Secure = False,
    observe: Observe = False,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Start a stack that stays; does nothing if it runs already."""
    from trialbus.cli import mappings, stack_commands

    mappings.take_mappings(map_image or (), map_path or (), url=url)
    stack_commands.up(data_dir, url, secure=secure, observe=observe)


@app.command()
def down(data_dir: DataDir = None, url: Url = None) -> None:
    """Stop the stack; its data stays.

    Running experiments go on at the next start."""
    from trialbus.cli import stack_commands

    stack_commands.down(data_dir, url)


@app.command()
def status(as_json: AsJson = False, data_dir: DataDir = None, url: Url = None) -> None:
    """Show the stack's addresses and processes."""
    from trialbus.cli import stack_commands

    stack_commands.status(data_dir, url, as_json=as_json)


@app.command()
def apply(
    file: Annotated[str, typer.Option("--file", "-f", help="An Experiment; - reads stdin.")],
    namespace: FileNamespace = None,
    warm_start: Annotated[
        str | None,
        typer.Option("--warm-start", metavar="TRIALS", help="A file of trials to begin with."),
    ] = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Create an experiment, or change what may be changed of it."""
    from trialbus.cli import importing, reading, running, stacks

    experiment = reading.read_experiment(file, namespace)
    api = stacks.connect(data_dir, url)
    if warm_start is not None:
        experiment, told = importing.warmed_by(api, experiment, warm_start)
        typer.echo(told)
    typer.echo(running.tell_applied(api, experiment))


@app.command()
def get(
    kind: Annotated[Kind, typer.Argument(metavar="experiments|trials|suggestions")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None,
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="The default without -n and a NAME.")
    ] = False,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Only the trials of this one.")
    ] = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Deleted experiments whose history was kept.")
    ] = False,
    uid: Annotated[
        str | None, typer.Option("--uid", help="Trials of the experiment of this uid.")
    ] = None,
    form: Annotated[
        Format, typer.Option("--output", "-o", help="How to print them.")
    ] = Format.TABLE,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """List experiments, trials or suggestions."""
    from trialbus.cli import getting, stacks

    getting.get(
        stacks.connect(data_dir, url),
        kind,
        name,
        namespace=None if all_namespaces else namespace,
        experiment=experiment,
        form=form,
        deleted=deleted,
        uid=uid,
    )


@app.command()
def logs(
    trial: TrialName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    tail: Tail = None,
    namespace: TrialNamespace = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Print the output of a trial's newest attempt."""
    from trialbus.cli import following, stacks

    api = stacks.connect(data_dir, url)
    following.print_log(api, trial, namespace=namespace, follow=follow, tail=tail)


@app.command()
def events(
    name: ExperimentName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print CloudEvents, one a line.")] = False,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Print an experiment's events, oldest first."""
    from trialbus.cli import following, stacks

    api = stacks.connect(data_dir, url)
    following.print_events(api, name, namespace, follow=follow, as_json=as_json)


@app.command()
def explain(
    name: AnyName,
    as_json: AsJson = False,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Say why something is in its state.

    The chain of events of an experiment or a trial, each with its reason."""
    from trialbus.cli import getting, stacks

    getting.explain(stacks.connect(data_dir, url), name, namespace=namespace, as_json=as_json)


@app.command()
def wait(
    name: ExperimentName,
    goal: Annotated[Goal, typer.Option("--for", help="The state to wait for.")] = Goal.SUCCEEDED,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="Such as 30s or 5m; without it, for ever.")
    ] = None,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Wait until an experiment is in a state.

    Exit code 0 if it is, 1 if it ended otherwise, 124 after the timeout."""
    from trialbus.cli import stacks, waiting

    within_s = None if timeout is None else waiting.seconds(timeout)
    api = stacks.connect(data_dir, url)
    raise typer.Exit(waiting.wait(api, name, goal, namespace=namespace, within_s=within_s))


def _tell(
    verb: str, done: str, name: str, namespace: str | None, data_dir: Path | None, url: str | None
) -> None:
    from trialbus.cli import getting, stacks

    api = stacks.connect(data_dir, url)
    typer.echo(getting.command(api, name, verb, done, namespace=namespace))


@app.command()
def delete(
    name: ExperimentName,
    keep_history: Annotated[
        bool, typer.Option("--keep-history", help="Its trials, metrics and logs stay readable.")
    ] = False,
    namespace: Namespace = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Stop an experiment and remove its records."""
    from trialbus.cli import getting, stacks

    api = stacks.connect(data_dir, url)
    typer.echo(getting.delete(api, name, namespace=namespace, keep_history=keep_history))


@app.command()
def lineage(
    name: ExperimentName,
    namespace: Namespace = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Show which trial went on from which, and the schedule of the best."""
    from trialbus.cli import lineages, stacks

    lineages.lineage(stacks.connect(data_dir, url), name, namespace=namespace, as_json=as_json)


@app.command()
def suspend(
    name: ExperimentName, namespace: Namespace = None, data_dir: DataDir = None, url: Url = None
) -> None:
    """Stop an experiment's trials until it is resumed."""
    _tell("suspend", "is being suspended", name, namespace, data_dir, url)


@app.command()
def resume(
    name: ExperimentName, namespace: Namespace = None, data_dir: DataDir = None, url: Url = None
) -> None:
    """Let a suspended experiment go on."""
    _tell("resume", "is being resumed", name, namespace, data_dir, url)


@app.command()
def kubeconfig(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where kubectl looks without -n.")
    ] = "default",
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Put it into FILE; what else is there stays."),
    ] = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Print how kubectl and Katib's client reach the stack."""
    from trialbus.cli import kubeconfig as configuring

    configuring.kubeconfig(data_dir, url, namespace=namespace, write=write)


app.command()(doctor)


@app.command()
def serve(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="For example gateway.")],
    die_with_parent: Annotated[
        bool, typer.Option("--die-with-parent", help="Be killed when the parent process ends.")
    ] = False,
) -> None:
    """Run one service in this process.

    As containers do; settings come from the environment."""
    from trialbus.local import death_signal, definitions, hosting

    if die_with_parent:
        death_signal.die_with(os.getppid())
    try:
        definitions.load_definition(service)
    except definitions.UnknownService as error:
        raise CommandFailed(str(error), 2) from error
    raise typer.Exit(hosting.run_service(service))


app.command()(provision)
app.command()(initiate)


@app.command()
def version() -> None:
    """Print the version."""
    import importlib.metadata

    try:
        typer.echo(importlib.metadata.version("trialbus"))
    except importlib.metadata.PackageNotFoundError:
        typer.echo("not installed")


def exit_code() -> int:
    """Of the command that the arguments say: what goes wrong is one line each on stderr."""
    try:
        app()
    except CommandFailed as failure:
        for line in failure.lines:
            typer.echo(line, err=True)
        return failure.code
    except SystemExit as end:
        if isinstance(end.code, int):
            return end.code
        raise
    return 0


def main() -> NoReturn:
    """The entry point. Ends without taking the interpreter apart, which takes a while and has no
    other effect."""
    code = exit_code()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # a closed pipe, a full disk: said as Python says it
        sys.exit(code)
    os._exit(code)


if __name__ == "__main__":
    main()
