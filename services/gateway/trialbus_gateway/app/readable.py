"""Documents of lists: one that cannot be read is left out, with a warning, and hides no other."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from trialbus.contracts.documents import Document, DocumentCodec

T = TypeVar("T")

_LOG = structlog.get_logger().bind(service="gateway")


def readable(codec: DocumentCodec[T], documents: Iterable[Document]) -> list[T]:
    """In their order."""
    return [it for document in documents if (it := read(codec, document)) is not None]


def readable_by_key(codec: DocumentCodec[T], documents: Mapping[str, Document]) -> dict[str, T]:
    """Of a read by key, those that can be read."""
    decoded = {key: read(codec, document) for key, document in documents.items()}
    return {key: it for key, it in decoded.items() if it is not None}


async def refilled(
    codec: DocumentCodec[T],
    find: Callable[[Any, int], Awaitable[list[Document]]],
    field: str,
    after: Any,
    count: int,
) -> list[T]:
    """The next `count` that can be read, fewer only at the end. find: so many documents behind a
    value of the field that they are ordered by."""
    kept: list[T] = []
    while len(kept) < count:
        room = count - len(kept)
        found = await find(after, room)
        kept += readable(codec, found)
        if len(found) < room:
            break
        after = found[-1][field]
    return kept


def read(codec: DocumentCodec[T], document: Document) -> T | None:
    try:
        return codec.decode(document)
    except ValidationError as error:
        # Only where it is wrong: what stands there may be long, or nobody's business.
        places = ["/".join(map(str, it["loc"])) for it in error.errors(include_input=False)]
        _LOG.warning("unreadable document left out", id=document.get("_id"), fields=places[:10])
        return None
