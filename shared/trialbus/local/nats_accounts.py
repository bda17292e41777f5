"""The folder with the identities of the bus: a seed file of each, and what a nats-server includes.

identities.json    who there is, with public keys; the seeds may have been taken elsewhere
<name>.seed        the secret of one identity, for its owner's eyes only
accounts.conf      accounts, users and permissions, made anew each time
nats-server.conf   a whole configuration that includes it; written once, then the operator's own
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]

from trialbus.contracts.nats_identities import (
    Identity,
    Permissions,
    Role,
    outside,
    permissions_of,
    services,
)
from trialbus.kernel.errors import NotThere, Problem, Refused

MANIFEST = "identities.json"
ACCOUNTS = "accounts.conf"
SERVER = "nats-server.conf"
ACCOUNT, SYSTEM_ACCOUNT = "TRIALBUS", "SYS"
DEFAULT_NAMESPACE = "default"
_SEED_BYTES = 32
_SEED_MODE, _FOLDER_MODE = 0o400, 0o700

_NOTE = "# Made by `trialbus auth nats`, which makes it again. It holds no secrets.\n"
_SERVER_TEXT = """\
# Made once by `trialbus auth nats`: yours to change. It has no `no_auth_user`; do not add one.
include ./accounts.conf

# Beyond loopback only with TLS that asks clients for certificates:
# tls { cert_file: "server.pem", key_file: "server-key.pem", ca_file: "ca.pem", verify: true }
listen: "127.0.0.1:4222"
# The monitoring endpoint asks nobody who they are.
http: "127.0.0.1:8222"
max_payload: 1048576
jetstream {
  store_dir: "./jetstream"
  max_file_store: 4294967296
  max_memory_store: 67108864
  # Without it a power failure takes what was acknowledged, whole streams included.
  sync_interval: always
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An identity of the folder. key: its public key."""

    identity: Identity
    key: str


def seed_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.seed"


def is_made(folder: Path) -> bool:
    return (folder / MANIFEST).exists()


def first_guests(folder: Path) -> tuple[Identity, ...]:
    """Whom a new folder has besides ourselves: a pipeline and a worker of the namespace that
    everything is in unless it says otherwise. None for a folder that is made already."""
    if is_made(folder):
        return ()
    roles = (Role.PIPELINE, Role.WORKER)
    return tuple(outside(role, role.value, [DEFAULT_NAMESPACE]) for role in roles)


def make(
    folder: Path,
    *,
    wanted: Sequence[Identity] = (),
    rotate: Sequence[str] = (),
    revoke: Sequence[str] = (),
) -> tuple[Known, ...]:
    """Everything in the folder, as asked. Idempotent: keys stay, but of those to rotate. wanted:
    identities for what is not ours, new or with other scopes. Raises Refused, NotThere, OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    known = {it.identity.name: it for it in read(folder)}
    _check(known, [*rotate, *revoke], revoke)
    for name in revoke:
        del known[name]
    for identity in (*services(), *wanted):
        key = known[identity.name].key if identity.name in known else ""
        known[identity.name] = Known(identity=identity, key=key)
    for name, each in known.items():
        path = seed_path(folder, name)
        if name in rotate or not (each.key or path.exists()):
            known[name] = replace(each, key=_new_seed(path))
        elif not each.key:
            known[name] = replace(each, key=_public_key(path.read_bytes()))
    everybody = tuple(known.values())
    _write(folder / MANIFEST, json.dumps([_as_json(it) for it in everybody], indent=2) + "\n")
    _write(folder / ACCOUNTS, accounts_text(everybody))
    if not (folder / SERVER).exists():
        _write(folder / SERVER, _SERVER_TEXT)
    for name in revoke:
        seed_path(folder, name).unlink(missing_ok=True)
    return everybody


def read(folder: Path) -> tuple[Known, ...]:
    """What the folder knows; nothing of a new one. Raises Refused when it cannot be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
        return tuple(_from_json(it) for it in found)
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        raise Refused([Problem(field=MANIFEST, message=f"cannot be read: {error}")]) from error


def accounts_text(everybody: Sequence[Known]) -> str:
    """What a nats-server's configuration includes. No user of the system account: nobody who can
    reach the server can ask it about itself, or reload it, over the bus."""
    users = [
        {"nkey": it.key, "permissions": _permissions(permissions_of(it.identity))}
        for it in everybody
    ]
    accounts = {ACCOUNT: {"jetstream": "enabled", "users": users}, SYSTEM_ACCOUNT: {}}
    # JSON is valid configuration syntax, and quotes any subject.
    text = json.dumps(accounts, indent=2)
    return f'{_NOTE}accounts: {text}\nsystem_account: "{SYSTEM_ACCOUNT}"\n'


def _permissions(permissions: Permissions) -> Mapping[str, Any]:
    publish: dict[str, Any] = {"allow": permissions.publish}
    if permissions.deny_publish:
        publish["deny"] = permissions.deny_publish
    return {"publish": publish, "subscribe": {"allow": permissions.subscribe}}


def _check(known: Mapping[str, Known], named: Sequence[str], revoked: Sequence[str]) -> None:
    missing = [name for name in named if name not in known]
    if missing:
        raise NotThere(f"there is no identity {', '.join(map(repr, missing))}")
    ours = {identity.name for identity in services()}
    problems = [
        Problem(field=name, message="is one of our own: rotate it instead")
        for name in revoked
        if name in ours
    ]
    if problems:
        raise Refused(problems)


def _new_seed(path: Path) -> str:
    """Its public key. The file is there whole or not at all, and never readable by others."""
    seed = nkeys.encode_seed(os.urandom(_SEED_BYTES), nkeys.PREFIX_BYTE_USER)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SEED_MODE)
    try:
        os.write(descriptor, seed + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
    return _public_key(seed)


def _public_key(seed: bytes) -> str:
    return str(nkeys.from_seed(bytearray(seed.strip())).public_key.decode())


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _as_json(known: Known) -> Mapping[str, Any]:
    identity = known.identity
    return {
        "name": identity.name,
        "role": identity.role.value,
        "scopes": list(identity.scopes),
        "nkey": known.key,
    }


def _from_json(told: Mapping[str, Any]) -> Known:
    role = Role(told["role"])
    if role in (Role.SERVICE, Role.PROVISIONER):
        identity = Identity(name=str(told["name"]), role=role)
    else:
        identity = outside(role, told["name"], told["scopes"])
    return Known(identity=identity, key=str(told["nkey"]))
