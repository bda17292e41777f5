"""`trialbus initiate`: MongoDB's replica set and user, which only one makes."""

# ruff: noqa: PLC0415 - so that `trialbus --help` is there at once

from pathlib import Path
from typing import Annotated

import typer

from trialbus.cli.failures import FAILED, REFUSED, CommandFailed


def initiate(
    member: Annotated[
        list[str],
        typer.Option("--member", metavar="HOST:PORT", help="A mongod. Again for more."),
    ],
    database: Annotated[
        str, typer.Option("--database", help="What the user may read and write.")
    ] = "trialbus",
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="That of the servers. Without: they ask nobody."),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="Of the user trialbus.")
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", help="Certificates to check the servers' by.")
    ] = None,
    within: Annotated[float, typer.Option("--within", min=0, help="Seconds to try for.")] = 120,
) -> None:
    """Make mongod servers the replica set trialbus, with the services' user.

    Repeatable: what is missing is made."""
    import asyncio

    from trialbus.kernel.errors import Refused, Transient
    from trialbus.local.store_initiation import Initiation
    from trialbus.local.store_initiation import initiate as make

    wrong = [it for it in member if not it.rpartition(":")[2].isdigit() or it.startswith(":")]
    if wrong:
        raise CommandFailed(f"--member {wrong[0]}: is not HOST:PORT", REFUSED)
    if password_file and not key_file:
        raise CommandFailed("--password-file needs --key-file: else nobody is asked", REFUSED)
    try:
        wanted = Initiation(
            members=tuple(member),
            database=database,
            key=key_file.read_text() if key_file else "",
            password=password_file.read_text().strip() if password_file else "",
            tls_ca=str(tls_ca) if tls_ca else "",
        )
        asyncio.run(make(wanted, within_s=within))
    except Refused as refused:
        raise CommandFailed([str(it) for it in refused.problems], REFUSED) from refused
    except (Transient, OSError) as error:
        raise CommandFailed(f"not made: {error}", FAILED) from error
    typer.echo(f"the replica set trialbus of {', '.join(member)} is made")
