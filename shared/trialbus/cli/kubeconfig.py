"""`trialbus kubeconfig`: how kubectl and Katib's client reach the stack.

A gateway on loopback that asks nobody needs no credentials; for others the user has the token of
`TRIALBUS_TOKEN`. kubectl sends tokens over https only.
"""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import typer
import yaml

from trialbus.cli.api import TOKEN_VARIABLE
from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.stacks import connect
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.errors import Refused
from trialbus.kernel.ids import is_name

NAME = "trialbus"
# The part of a kubeconfig -> what its entries hold beside their name.
_LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}

Json = dict[str, Any]


def kubeconfig(
    data_dir: Path | None, url: str | None, *, namespace: str, write: Path | None
) -> None:
    """Prints it, or puts it into a file, whose other contexts stay."""
    if not is_name(namespace):
        raise CommandFailed(f"not a name of a namespace: {namespace}", REFUSED)
    api = connect(data_dir, url)
    api.close()
    server = _server(url) if url is not None else api.base
    ca_file = os.environ.get("SSL_CERT_FILE", "") if server.startswith("https:") else ""
    token = os.environ.get(TOKEN_VARIABLE, "")
    ours = configuration(server, namespace, token=token, ca_file=ca_file)
    if write is None:
        typer.echo(_yaml(ours), nl=False)
        return
    path = write.expanduser()
    before = _read(path)
    _replace(path, _yaml(ours if before is None else merged(before, ours)))
    typer.echo(f"{path} has the context {NAME}: kubectl --kubeconfig {path} get experiments")
    current = (before or {}).get("current-context")
    if current not in (None, "", NAME):
        typer.echo(f"its context was {current}; back: kubectl config use-context {current}")


def _server(url: str) -> str:
    return (url if "//" in url else f"http://{url}").rstrip("/")


def configuration(server: str, namespace: str, *, token: str = "", ca_file: str = "") -> Json:
    """token: of a gateway that asks for one. ca_file: what an https server is checked by."""
    trusted = {"certificate-authority": ca_file} if ca_file else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": server, **trusted}}],
        "users": [{"name": NAME, "user": {"token": token} if token else {}}],
        "contexts": [
            {
                "name": NAME,
                "context": {"cluster": NAME, "user": NAME, "namespace": namespace},
            }
        ],
        "current-context": NAME,
    }


def merged(before: Json, ours: Json) -> Json:
    """`ours` in the midst of somebody's other clusters. Law: merging twice is merging once."""
    result = {**before, "current-context": NAME}
    for name in _LISTS:
        others = [entry for entry in before.get(name) or [] if entry.get("name") != NAME]
        result[name] = [*others, *ours[name]]
    return result


def _read(path: Path) -> Json | None:
    """None: there is none yet, or it is empty."""
    try:
        data = path.read_bytes()
        found = load_document(data) if data.strip() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}", REFUSED) from error
    except Refused as refusal:
        lines = [f"  {problem}" for problem in refusal.problems]
        raise CommandFailed([f"{path} cannot be read, and stays:", *lines], REFUSED) from refusal
    if found is not None and not _is_kubeconfig(found):
        raise CommandFailed(f"{path} is not a kubeconfig, and stays", REFUSED)
    return found


def _is_kubeconfig(document: Json) -> bool:
    lists = [document.get(name) or [] for name in _LISTS]
    return document.get("kind", "Config") == "Config" and all(
        isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
        for entries in lists
    )


def _replace(path: Path, text: str) -> None:
    """By rename, for its owner only; a link stays a link."""
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        new = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}", REFUSED) from error


def _yaml(document: Json) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
