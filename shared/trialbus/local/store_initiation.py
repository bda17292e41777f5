"""Makes mongod servers one replica set, and the user that the services are there.

With a key file the servers ask everybody who they are, also before there is any user: then it is
done as themselves, because whoever has the key file is one of them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, ConnectionFailure, OperationFailure

from trialbus.kernel.errors import Problem, Refused, Transient

SET_NAME = "trialbus"
USER = "trialbus"
POLL_INTERVAL_S = 0.2
CLIENT_TIMEOUT_MS = 2_000

# MongoDB's error codes of what passes by itself, when an election or another call is under way.
_BUSY = {
    23,  # AlreadyInitialized: another call was faster
    74,  # NodeNotFound: a member does not answer yet
    93,  # InvalidReplicaSetConfig: a new member has not heard of it yet
    103,  # NewReplicaSetConfigurationIncompatible: the configuration has changed meanwhile
    109,  # ConfigurationInProgress
    125,  # CommandFailed: no heartbeat of enough members yet
    189,  # PrimarySteppedDown
    308,  # CurrentConfigNotCommittedYet
    10107,  # NotWritablePrimary
    11602,  # InterruptedDueToReplStateChange
    13435,  # NotPrimaryNoSecondaryOk
}
_NOT_YET_INITIALIZED = 94
_NO_SUCH_USER = 11

_Client = AsyncMongoClient[dict[str, Any]]
_Config = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiation:
    """members: HOST:PORT as clients and the members themselves reach them. key: text of the key
    file; empty: the servers ask nobody who they are, and there is no user. password: of the user.
    tls_ca: file with the certificates that the servers' are checked by; empty: no TLS."""

    members: tuple[str, ...]
    database: str
    key: str = ""
    password: str = ""
    tls_ca: str = ""


async def initiate(wanted: Initiation, *, within_s: float) -> None:
    """Idempotent: members that are missing join one by one, those not named leave, the user gets
    this password. Raises Transient when it takes longer, Refused when servers are of another set or
    key."""
    trouble: list[str] = []
    try:
        async with asyncio.timeout(within_s):
            while True:
                if await _attempt(wanted, trouble):
                    return
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError as error:
        told = trouble[-1] if trouble else "no answer"
        raise Transient(f"not within {within_s:g} s: {told}") from error


async def _attempt(wanted: Initiation, trouble: list[str]) -> bool:
    """The next step that is missing. True when there is none."""
    try:
        primary = await _look(wanted)
        late = wanted.members if primary is None else await _at_primary(wanted, primary)
        trouble += [f"{member} is no member yet" for member in late]
        return not late
    except OperationFailure as error:
        if error.code not in _BUSY:
            raise _refused(_told(error)) from error
        trouble.append(_told(error))
    except (AutoReconnect, ConnectionFailure) as error:
        trouble.append(str(error).partition(",")[0])
    return False


async def _look(wanted: Initiation) -> str | None:
    """The primary; None if there is none yet. Initiates what is in no set at all."""
    fresh = []
    for member in wanted.members:
        async with _connected(wanted, member) as client:
            hello = await client.admin.command("hello")
            if hello.get("setName") not in (None, SET_NAME):
                raise _refused(f"{member} is of the replica set {hello['setName']}")
            if hello.get("primary"):
                return str(hello["primary"])
            if await _config_of(client) is None:
                fresh.append(member)
    if len(fresh) == len(wanted.members):
        async with _connected(wanted, fresh[0]) as client:
            await client.admin.command("replSetInitiate", _config(wanted.members))
    return None


async def _at_primary(wanted: Initiation, primary: str) -> Sequence[str]:
    """Members that are not in the set, or still copy what it has: those count for no majority."""
    async with _connected(wanted, primary) as client:
        hello = await client.admin.command("hello")
        config = await _config_of(client)
        if not hello.get("isWritablePrimary") or config is None:
            return wanted.members
        changed = next_config(config, wanted.members, primary)
        if changed is not None:
            await client.admin.command("replSetReconfig", changed)
            return wanted.members
        if wanted.password:
            await _make_user(client, wanted)
        return [member for member in wanted.members if member not in hello["hosts"]]


def next_config(config: _Config, members: Sequence[str], primary: str) -> _Config | None:
    """The configuration after one step towards these members, because MongoDB takes one at a time;
    None when they are the members. A primary that is to leave stays until it is none."""
    present = [it["host"] for it in config["members"]]
    missing = [it for it in members if it not in present]
    leaving = [it for it in present if it not in members and it != primary]
    if missing:
        number = max(it["_id"] for it in config["members"]) + 1
        changed = [*config["members"], {"_id": number, "host": missing[0]}]
    elif leaving:
        changed = [it for it in config["members"] if it["host"] != leaving[0]]
    else:
        return None
    return {**config, "version": config["version"] + 1, "members": changed}


def _config(members: Sequence[str]) -> _Config:
    return {
        "_id": SET_NAME,
        "members": [{"_id": number, "host": host} for number, host in enumerate(members)],
    }


async def _config_of(client: _Client) -> _Config | None:
    """None of a server that is in no set."""
    try:
        answer = await client.admin.command("replSetGetConfig")
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        return None
    config: _Config = answer["config"]
    return config


async def _make_user(client: _Client, wanted: Initiation) -> None:
    """May read and write its own database and say what its collections must look like."""
    roles = [{"role": role, "db": wanted.database} for role in ("readWrite", "dbAdmin")]
    told = {"pwd": wanted.password, "roles": roles, "writeConcern": {"w": "majority"}}
    try:
        await client.admin.command({"updateUser": USER, **told})
    except OperationFailure as error:
        if error.code != _NO_SUCH_USER:
            raise
        await client.admin.command({"createUser": USER, **told})


def _told(error: OperationFailure) -> str:
    return str((error.details or {}).get("errmsg", error))


def _refused(message: str) -> Refused:
    return Refused([Problem(field="member", message=message)])


def _connected(wanted: Initiation, member: str) -> _Client:
    host, _, port = member.rpartition(":")
    options: dict[str, Any] = {}
    if wanted.key:
        # MongoDB leaves out white space of a key file, so that it may have lines.
        options = {
            "username": "__system",
            "password": "".join(wanted.key.split()),
            "authSource": "local",
            "authMechanism": "SCRAM-SHA-256",
        }
    if wanted.tls_ca:
        options |= {"tls": True, "tlsCAFile": wanted.tls_ca}
    return AsyncMongoClient(
        host,
        int(port),
        directConnection=True,
        serverSelectionTimeoutMS=CLIENT_TIMEOUT_MS,
        connectTimeoutMS=CLIENT_TIMEOUT_MS,
        appname="trialbus-initiate",
        **options,
    )
