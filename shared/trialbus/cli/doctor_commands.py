"""`trialbus doctor`: of this machine, of a stack, of a cluster."""

# ruff: noqa: PLC0415 - so that `trialbus --help` is there at once

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from trialbus.cli.failures import CommandFailed
from trialbus.cli.options import AsJson, DataDir, Url

if TYPE_CHECKING:
    from trialbus.cli.doctor import Check

# Spelled out: the contracts, which name them, are loaded slowly.
OF_CLUSTER = ("trial_launcher", "gateway")


def doctor(
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Say what the cluster of the TRIALBUS_ settings lacks."),
    ] = False,
    service: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE",
            help=f"With --cluster, only what this one needs: {' or '.join(OF_CLUSTER)}.",
        ),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Say what this machine lacks, or a cluster.

    Exit code 1 if no stack could run."""
    from trialbus.cli import doctor as examination
    from trialbus.cli import stack_commands, stacks

    if cluster:
        found = _of_cluster(service or OF_CLUSTER)
    elif url is not None:
        stack_commands.check_answers(url)
        return
    else:
        found = examination.checks(stacks.data_folder(data_dir))
    _print(found, as_json=as_json)
    raise typer.Exit(0 if examination.all_needed_are_good(found) else 1)


def _of_cluster(services: Sequence[str]) -> "list[Check]":
    unknown = [each for each in services if each not in OF_CLUSTER]
    if unknown:
        told = f"{', '.join(unknown)}: only {' and '.join(OF_CLUSTER)} need anything of a cluster"
        raise CommandFailed(told, 2)
    from trialbus.cli import cluster_doctor
    from trialbus.runtime.settings import Settings

    settings = Settings()  # type: ignore[call-arg]
    try:
        return asyncio.run(cluster_doctor.checks(settings, services))
    except ModuleNotFoundError as error:
        told = f"{error.name} is not installed: pip install 'trialbus[kubernetes]'"
        raise CommandFailed(told) from error


def _print(found: "list[Check]", *, as_json: bool) -> None:
    from trialbus.cli import doctor as examination
    from trialbus.cli.tables import aligned

    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found], indent=2))
    else:
        typer.echo("\n".join(aligned(list(examination.rows(found)))))
