"""What `trialbus auth token` and `trialbus auth check` do."""

import json
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from trialbus.cli import token_store
from trialbus.cli.api import Api, path_of
from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.tables import aligned
from trialbus.contracts.token_file import TOKEN_PREFIX, StaticToken, expiry_after, hash_of
from trialbus.kernel.access import EVERY_NAMESPACE

_TOKEN_BYTES = 32
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NEVER = "never"


def create(file: Path, name: str, *, namespaces: Sequence[str], role: str, expires: str) -> None:
    """The token goes to stdout, alone, so that a script can take it; the rest to stderr."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    lasting_s = _seconds(expires)
    entry = {
        "name": name,
        "sha256": hash_of(token),
        "role": role,
        "namespaces": EVERY_NAMESPACE if EVERY_NAMESPACE in namespaces else tuple(namespaces),
        "expires": None if lasting_s is None else expiry_after(time.time(), lasting_s),
    }
    try:
        made = StaticToken.model_validate(entry)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [f"{'.'.join(map(str, it['loc']))}: {it['msg']}".removeprefix(": ") for it in found]
        raise CommandFailed(lines, REFUSED) from None

    def added(there: Sequence[StaticToken]) -> Sequence[StaticToken]:
        if any(each.name == name for each in there):
            raise CommandFailed(f"{file} has a token of {name}: revoke it first", REFUSED)
        return (*there, made)

    token_store.change(file, added)
    typer.echo(token)
    typer.echo(f"{name}: {_described(made)}; written to {file}, shown only now", err=True)


def list_tokens(file: Path, *, as_json: bool) -> None:
    found, now = token_store.read(file), time.time()
    if as_json:
        shown = [
            {**each.model_dump(mode="json", exclude={"sha256"}), "expired": each.is_expired(now)}
            for each in found
        ]
        typer.echo(json.dumps(shown, indent=2))
        return
    rows = [
        (each.name, each.role.value, _where(each), _until(each, expired=each.is_expired(now)))
        for each in found
    ]
    for line in aligned([("NAME", "ROLE", "NAMESPACES", "EXPIRES"), *rows]):
        typer.echo(line)


def revoke(file: Path, name: str) -> None:
    def taken_out(there: Sequence[StaticToken]) -> Sequence[StaticToken]:
        left = [each for each in there if each.name != name]
        if len(left) == len(there):
            raise CommandFailed(f"{file} has no token of {name}", REFUSED)
        return left

    token_store.change(file, taken_out)
    typer.echo(f"{name}: revoked")


def check(api: Api, *, as_json: bool) -> None:
    who: dict[str, Any] = api.get(path_of("identity"))
    if as_json:
        typer.echo(json.dumps(who, indent=2))
        return
    if not who["required"]:
        typer.echo(f"{api.base} listens on loopback only and asks nobody who they are")
        return
    where = who["namespaces"]
    typer.echo(f"name:        {who['name']}")
    typer.echo(f"by:          {who['by']}")
    typer.echo(f"role:        {who['role']} ({', '.join(who['actions'])})")
    typer.echo(f"namespaces:  {where if isinstance(where, str) else ', '.join(where)}")
    typer.echo(f"expires:     {who['expires'] or _NEVER}")


def _described(token: StaticToken) -> str:
    return f"{token.role} in {_where(token)}, until {_until(token, expired=False)}"


def _where(token: StaticToken) -> str:
    return ",".join(token.namespaces)


def _until(token: StaticToken, *, expired: bool) -> str:
    if token.expires is None:
        return _NEVER
    text = token.expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{text} (expired)" if expired else text


def _seconds(text: str) -> float | None:
    """None: it never expires. Raises CommandFailed."""
    if text == _NEVER:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise CommandFailed(f"--expires {text}: such as 12h, 30d or {_NEVER}", REFUSED)
    return int(match[1]) * _SECONDS[match[2]]
