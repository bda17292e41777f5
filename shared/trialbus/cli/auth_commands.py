"""`trialbus auth`: who may do what at the gateway's door."""

# ruff: noqa: PLC0415 - so that `trialbus --help` is there at once

from pathlib import Path
from typing import Annotated

import typer

from trialbus.cli.choices import TokenRole

_NAMES = {"help_option_names": ["-h", "--help"]}
auth = typer.Typer(
    name="auth",
    help="Tokens and identities of the gateway.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=_NAMES,
)
token = typer.Typer(
    name="token",
    help="Static bearer tokens: the file keeps their hashes only.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=_NAMES,
)
auth.add_typer(token)

TokensFile = Annotated[
    Path,
    typer.Option(
        "--file",
        "-f",
        envvar="TRIALBUS_TOKENS_FILE",
        help="The gateway's file of tokens; it reads it again when it changes.",
    ),
]
TokenNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Who it is for.")]


@token.command()
def create(
    name: TokenNameArgument,
    file: TokensFile,
    namespace: Annotated[
        list[str],
        typer.Option(
            "--namespace", "-n", help="Where it is good; `*`: everywhere. Again for more."
        ),
    ],
    role: Annotated[TokenRole, typer.Option("--role", help="What it may do.")] = TokenRole.READER,
    expires: Annotated[
        str, typer.Option("--expires", help="Such as 12h or 30d from now, or never.")
    ] = "90d",
) -> None:
    """Make a token and print it, this once; its hash goes into the file."""
    from trialbus.cli import tokens

    tokens.create(file, name, namespaces=namespace, role=role.value, expires=expires)


@token.command("list")
def list_(
    file: TokensFile, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Print whose tokens there are."""
    from trialbus.cli import tokens

    tokens.list_tokens(file, as_json=as_json)


@token.command()
def revoke(name: TokenNameArgument, file: TokensFile) -> None:
    """Take a token out of the file: it is good for nothing from then on."""
    from trialbus.cli import tokens

    tokens.revoke(file, name)


@auth.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            envvar="TRIALBUS_DATA_DIR",
            help="Folder of the stack: its data, logs and addresses. [default: .trialbus]",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", envvar="TRIALBUS_URL", help="Address of a running stack instead."),
    ] = None,
) -> None:
    """Ask the gateway who we are to it, and what we may do."""
    from trialbus.cli import stacks, tokens

    tokens.check(stacks.connect(data_dir, url), as_json=as_json)
