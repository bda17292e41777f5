"""Documents of lists: one that cannot be read is left out, with a warning, and hides no other."""

from collections.abc import Iterable
from typing import TypeVar

import structlog
from pydantic import ValidationError

from trialbus.contracts.documents import Document, DocumentCodec

T = TypeVar("T")

_LOG = structlog.get_logger().bind(service="gateway")


def readable(codec: DocumentCodec[T], documents: Iterable[Document]) -> list[T]:
    """In their order."""
    return [it for document in documents if (it := read(codec, document)) is not None]


def read(codec: DocumentCodec[T], document: Document) -> T | None:
    try:
        return codec.decode(document)
    except ValidationError as error:
        # Only where it is wrong: what stands there may be long, or nobody's business.
        places = ["/".join(map(str, it["loc"])) for it in error.errors(include_input=False)]
        _LOG.warning("unreadable document left out", id=document.get("_id"), fields=places[:10])
        return None
