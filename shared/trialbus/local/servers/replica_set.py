"""Makes one mongod the primary of its own replica set: at the first start and after a new port."""

import asyncio
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.read_concern import ReadConcern

from trialbus.local.servers.ports import LOOPBACK

NAME = "trialbus"
# One node elects itself at once; this is the longest it waits before it tries again.
ELECTION_TIMEOUT_MS = 500
POLL_INTERVAL_S = 0.005
CLIENT_TIMEOUT_MS = 2_000

_NOT_YET_INITIALIZED = 94
# Another step is under way in the server; the next look at it decides anew.
_BUSY = {
    23,  # AlreadyInitialized
    93,  # InvalidReplicaSetConfig: no member of the stored one is this node, yet
    94,  # NotYetInitialized: the stored one is still being loaded
    103,  # NewReplicaSetConfigurationIncompatible: a load was going on
    109,  # ConfigurationInProgress
    134,  # ReadConcernMajorityNotAvailableYet
    189,  # PrimarySteppedDown
    10107,  # NotWritablePrimary
    11602,  # InterruptedDueToReplStateChange
}

_Client = AsyncMongoClient[dict[str, Any]]


async def make_primary(port: int) -> None:
    """Return once the node on this port takes majority writes. Repeatable; waits for ever."""
    client: _Client = AsyncMongoClient(
        LOOPBACK,
        port,
        directConnection=True,
        serverSelectionTimeoutMS=CLIENT_TIMEOUT_MS,
        connectTimeoutMS=CLIENT_TIMEOUT_MS,
        appname="trialbus-start",
    )
    async with client:
        while True:
            if await _step(client, f"{LOOPBACK}:{port}"):
                return
            await asyncio.sleep(POLL_INTERVAL_S)


async def _step(client: _Client, address: str) -> bool:
    """Do the next thing that is missing. True when nothing is."""
    try:
        hello = await client.admin.command("hello")
        if hello.get("isWritablePrimary"):
            await _read_majority(client)
            return hello.get("me") == address
        if hello.get("isreplicaset"):  # it is in no set: none stored, or stored with another port
            await _configure(client, address)
    except AutoReconnect:
        return False  # an election or a new configuration closes connections
    except OperationFailure as error:
        if error.code not in _BUSY:
            raise
    return False


async def _configure(client: _Client, address: str) -> None:
    try:
        config = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        await client.admin.command("replSetInitiate", _first_config(address))
        return
    config["members"] = [{"_id": 0, "host": address}]
    config["version"] += 1
    # Forced: there is no primary that could accept it, and no other member that could disagree.
    await client.admin.command("replSetReconfig", config, force=True)


def _first_config(address: str) -> dict[str, Any]:
    return {
        "_id": NAME,
        "members": [{"_id": 0, "host": address}],
        "settings": {"electionTimeoutMillis": ELECTION_TIMEOUT_MS},
    }


async def _read_majority(client: _Client) -> None:
    """Fails with a busy code until the first majority commit of this term is known."""
    system = client.admin.get_collection("system.version", read_concern=ReadConcern("majority"))
    await system.find_one({})
