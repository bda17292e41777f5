"""Connects with either driver. Their APIs are nearly the same: the store uses the common part."""

from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Literal, cast

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from trialbus.ports.store import Document

Driver = Literal["motor", "pymongo"]
Client = AsyncMongoClient[Document]
Database = AsyncDatabase[Document]


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoSettings:
    """`url`: of a replica set of one or more (retryable writes need one)."""

    url: str
    database: str = "trialbus"
    app_name: str = "trialbus"
    driver: Driver = "pymongo"
    # Handlers commit groups, so a service has few calls under way at a time.
    max_pool_size: int = 16
    # Of one call with all its waiting and retries: no server, a server that accepts calls and
    # answers none, a write without its majority (the server gets the rest of it as `maxTimeMS`).
    call_timeout_s: float = 5.0


class UnreadableAddress(ValueError):
    """It is no connection string of MongoDB. The text does not repeat it."""


# How soon a returned server is seen when nobody calls it.
HEARTBEAT_MS = 2000


def connect(settings: MongoSettings) -> Client:
    """A client of the running event loop; it connects at its first call."""
    timeout_ms = round(settings.call_timeout_s * 1000)
    options: dict[str, Any] = {
        "appname": settings.app_name,
        "maxPoolSize": settings.max_pool_size,
        "timeoutMS": timeout_ms,
        "serverSelectionTimeoutMS": timeout_ms,
        "connectTimeoutMS": timeout_ms,
        "heartbeatFrequencyMS": HEARTBEAT_MS,
        "retryWrites": True,
        "retryReads": True,
    }
    if settings.driver == "motor":
        # Loaded on demand: past its end of life, and not wanted where it is not used.
        from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415

        return cast("Client", AsyncIOMotorClient(settings.url, **options))
    try:
        return AsyncMongoClient(settings.url, **options)
    except (PyMongoError, ValueError):
        # What the driver says holds parts of the address, and so perhaps of the password.
        raise UnreadableAddress(
            "the address of MongoDB cannot be read: special characters of user and password must "
            "be percent-encoded"
        ) from None


def database_of(client: Client, settings: MongoSettings) -> Database:
    """Every write is durable when it returns, every read sees only what cannot be rolled back."""
    return client.get_database(
        settings.database,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern(w="majority", j=True),
    )


async def disconnect(client: Client) -> None:
    # motor closes at once, pymongo's client is awaited.
    closing = cast("Any", client).close()
    if isawaitable(closing):
        await closing
