"""`trialbus auth nats` and `trialbus provision`: identities of the bus, and what only one makes."""

# ruff: noqa: PLC0415 - so that `trialbus --help` is there at once

from pathlib import Path
from typing import Annotated

import typer

from trialbus.cli.failures import FAILED, REFUSED, CommandFailed

Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the identities.")]
Pipelines = Annotated[
    list[str] | None,
    typer.Option(
        "--pipeline",
        metavar="NAME=NAMESPACE[,...]",
        help="Who may command and hear events there. Again for more.",
    ),
]
Workers = Annotated[
    list[str] | None,
    typer.Option("--worker", metavar="NAME=NAMESPACE[,...]", help="Who may ask for trials there."),
]
Trials = Annotated[
    list[str] | None,
    typer.Option(
        "--trial",
        metavar="NAME=NAMESPACE/EXPERIMENT/TRIAL",
        help="Who may push the metrics of this trial.",
    ),
]
Rotate = Annotated[
    list[str] | None,
    typer.Option("--rotate", metavar="NAME", help="Give it a new key; the old one ends."),
]
Revoke = Annotated[
    list[str] | None, typer.Option("--revoke", metavar="NAME", help="Take it out, with its key.")
]


def nats(
    out: Out,
    pipeline: Pipelines = None,
    worker: Workers = None,
    trial: Trials = None,
    rotate: Rotate = None,
    revoke: Revoke = None,
) -> None:
    """Make keys and permissions of all who use the bus.

    Keys that are there stay. See docs/how-to/secure-the-bus.md."""
    from trialbus.contracts.nats_identities import Role, outside
    from trialbus.kernel.errors import NotThere, Refused
    from trialbus.local import nats_accounts

    folder = out.absolute()
    given = {Role.PIPELINE: pipeline, Role.WORKER: worker, Role.TRIAL: trial}
    try:
        wanted = [
            outside(role, name, [scope for scope in scopes.split(",") if scope])
            for role, texts in given.items()
            for name, _, scopes in (text.partition("=") for text in texts or ())
        ]
        everybody = nats_accounts.make(
            folder,
            wanted=wanted or nats_accounts.first_guests(folder),
            rotate=rotate or (),
            revoke=revoke or (),
        )
    except Refused as refused:
        raise CommandFailed([str(problem) for problem in refused.problems], REFUSED) from refused
    except NotThere as missing:
        raise CommandFailed(str(missing), REFUSED) from missing
    except OSError as error:
        raise CommandFailed(f"{folder}: {error}", FAILED) from error
    for it in everybody:
        scopes = ", ".join(it.identity.scopes)
        seed = nats_accounts.seed_path(folder, it.identity.name)
        typer.echo(f"{seed}{f'  {it.identity.role.value} of {scopes}' if scopes else ''}")
    typer.echo(f"{folder / nats_accounts.ACCOUNTS}: have nats-server include it, and reload")


def provision(
    nats_url: Annotated[
        str | None, typer.Option("--nats-url", help="Default: TRIALBUS_NATS_URL.")
    ] = None,
    seed_file: Annotated[
        Path | None,
        typer.Option("--seed-file", help="Of the provisioner. Default: TRIALBUS_NATS_SEED_FILE."),
    ] = None,
    within: Annotated[float, typer.Option("--within", min=0, help="Seconds to try for.")] = 60,
) -> None:
    """Make the streams and queues of the bus, or bring them up to date.

    With keys services may not do that themselves: run it once before them, and after an update."""
    import asyncio

    from trialbus.kernel.errors import NotPermitted, Transient
    from trialbus.local.provisioning import provision as make
    from trialbus.local.service_logs import log_as_json
    from trialbus.runtime.settings import Settings

    log_as_json("error")
    settings = Settings()  # type: ignore[call-arg]
    chosen = {"nats_url": nats_url, "nats_seed_file": seed_file and str(seed_file)}
    settings = settings.model_copy(update={name: it for name, it in chosen.items() if it})
    try:
        asyncio.run(make(settings, within_s=within))
    except (Transient, NotPermitted, OSError) as error:
        raise CommandFailed(f"not made: {error}") from error
    typer.echo(f"the streams and queues of {settings.nats_url} are made")
