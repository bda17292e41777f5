"""`trialbus up`, `down` and `status`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from trialbus.cli import starting
from trialbus.cli.api import path_of
from trialbus.cli.failures import CommandFailed
from trialbus.cli.mappings import notes_on_mappings
from trialbus.cli.observing import check_observed, notes_on_observing
from trialbus.cli.stacks import (
    api_of,
    connect,
    data_folder,
    going_down,
    going_up,
    local_only,
    on_stack,
    running_stack,
)
from trialbus.cli.tables import aligned
from trialbus.local import stack_file
from trialbus.local.stack_file import ProcessStatus, StackStatus


def up(
    data_dir: Path | None, url: str | None, *, secure: bool = False, observe: bool = False
) -> None:
    local_only(url)
    folder = data_folder(data_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ran = stack_file.read_running(folder) is not None
    found = starting.keep_up(folder, secure=secure, observe=observe)
    if secure and not found.nats_auth:
        lines = ["it runs already, and anybody on this machine may use its bus; to secure it:"]
        again = f"{going_down(folder)} && {going_up(folder)} --secure"
        raise CommandFailed([*lines, f"  {again}"])
    for line in notes_on_mappings(found, folder):
        typer.echo(line, err=True)
    if observe and ran:
        check_observed(found, folder)
    typer.echo(f"the stack on {folder} is up: {found.http}")
    for line in notes_on_observing(found) if observe else ():
        typer.echo(line)


def down(data_dir: Path | None, url: str | None) -> None:
    local_only(url)
    folder = data_folder(data_dir)
    running = _trials_that_run(folder)
    stopped = starting.stop_running(folder)
    typer.echo(f"the stack on {folder} {'is down' if stopped else 'did not run'}")
    if running:
        still = sum(running.values())
        typer.echo(
            f"{still} {'trial runs on and is' if still == 1 else 'trials run on and are'} taken "
            "over at the next start; to stop what runs:"
        )
        typer.echo(f"  {going_up(folder)}")
        for namespace, name in running:
            typer.echo(f"  {on_stack(folder, None, 'suspend', name, '-n', namespace)}")


def _trials_that_run(folder: Path) -> dict[tuple[str, str], int]:
    """By namespace and name of their experiments; none if the gateway does not tell."""
    status = stack_file.read_running(folder)
    if status is None:
        return {}
    try:
        found = list(api_of(status, folder).items(path_of("experiments")))
    except CommandFailed as failure:
        typer.echo(f"which trials run is not known: {failure}", err=True)
        return {}
    names = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found]
    counts = [int(each.get("status", {}).get("trialsRunning") or 0) for each in found]
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def status(data_dir: Path | None, url: str | None, *, as_json: bool) -> None:
    """Raises Unreachable when none runs."""
    if url is not None:
        found: dict[str, Any] = connect(None, url).get(path_of("status"))
        typer.echo(json.dumps(found, indent=2))
        return
    running = running_stack(data_folder(data_dir))
    if as_json:
        typer.echo(json.dumps(asdict(running), indent=2))
        return
    for name in ("http", "grpc", "nats", "mongo", "data_dir"):
        typer.echo(f"{name.replace('_dir', ' folder'):<12}{getattr(running, name)}")
    if running.prometheus:
        typer.echo(f"{'prometheus':<12}{running.prometheus}")
    if running.nats_auth:
        typer.echo(f"{'nats keys':<12}{running.nats_auth}")
    typer.echo("")
    typer.echo("\n".join(aligned([["PROCESS", "STATE", "PID", "RESTARTS"], *_processes(running)])))


def _processes(running: StackStatus) -> list[list[str]]:
    every: dict[str, ProcessStatus] = {**running.servers, **running.services}
    rows = [
        [name, each.state, str(each.pid or "-"), str(each.restarts)] for name, each in every.items()
    ]
    return [["supervisor", "ready", str(running.pid), "0"], *rows]


def check_answers(url: str) -> None:
    """Says that a stack answers there."""
    connect(None, url).get(path_of("status"))
    typer.echo(f"a stack answers at {url}")
