"""`trialbus up`, `down`, `status` and `doctor`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from trialbus.cli import starting
from trialbus.cli.api import path_of
from trialbus.cli.failures import FAILED, OK
from trialbus.cli.stacks import connect, data_folder, local_only, running_stack
from trialbus.cli.tables import aligned
from trialbus.local import stack_file
from trialbus.local.stack_file import ProcessStatus, StackStatus


def up(data_dir: Path | None, url: str | None) -> None:
    local_only(url)
    folder = data_folder(data_dir)
    if not stack_file.is_held(folder):
        try:
            starting.start_supervisor(folder, owned=False)
        except starting.InUse:
            typer.echo("somebody else has just started it", err=True)
    found = starting.wait_until(folder, starting.all_ready, "all services are ready")
    if found.owned:
        typer.echo("it belongs to a `trialbus run`, and will end with it", err=True)
    typer.echo(f"the stack on {folder} is up: {found.http}")


def down(data_dir: Path | None, url: str | None) -> None:
    local_only(url)
    folder = data_folder(data_dir)
    stopped = starting.stop_running(folder)
    typer.echo(f"the stack on {folder} {'is down' if stopped else 'did not run'}")


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
    typer.echo("")
    typer.echo("\n".join(aligned([["PROCESS", "STATE", "PID", "RESTARTS"], *_processes(running)])))


def _processes(running: StackStatus) -> list[list[str]]:
    every: dict[str, ProcessStatus] = {**running.servers, **running.services}
    rows = [
        [name, each.state, str(each.pid or "-"), str(each.restarts)] for name, each in every.items()
    ]
    return [["supervisor", "ready", str(running.pid), "0"], *rows]


def doctor(data_dir: Path | None, url: str | None, *, as_json: bool) -> int:
    """OK when a stack can run here; with an address: when a stack answers there."""
    if url is not None:
        connect(None, url).get(path_of("status"))
        typer.echo(f"a stack answers at {url}")
        return OK
    from trialbus.cli import doctor as examination  # noqa: PLC0415 - loads the servers' code

    found = examination.checks(data_folder(data_dir))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in found], indent=2))
    else:
        typer.echo("\n".join(aligned(list(examination.rows(found)))))
    return OK if examination.all_needed_are_good(found) else FAILED
