"""Documents of the store <-> kernel types. A document's `_id` is the type's `id`."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from trialbus.kernel.chunks import Chunk
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.heartbeats import Heartbeat
from trialbus.kernel.run import Run
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial
from trialbus.kernel.warm_start import WarmTrials

T = TypeVar("T")

Document = dict[str, Any]
_TRACEPARENT = "traceparent"


class DocumentCodec(Generic[T]):
    """Turns one kind of kernel object into its document and back."""

    def __init__(self, kind: type[T]) -> None:
        self._adapter = TypeAdapter(kind)

    def decode(self, document: Mapping[str, Any]) -> T:
        """Raises pydantic.ValidationError when the document is not of this kind."""
        fields = dict(document)
        fields["id"] = fields.pop("_id")
        return self._adapter.validate_python(fields)

    def encode(self, value: T) -> Document:
        document: Document = self._adapter.dump_python(value, mode="json")
        if document.get(_TRACEPARENT) is None:
            # Where nobody keeps a trace it costs nothing.
            document.pop(_TRACEPARENT, None)
        return {"_id": document.pop("id"), **document}


EXPERIMENT = DocumentCodec(Experiment)
TRIAL = DocumentCodec(Trial)
RUN = DocumentCodec(Run)
ANSWER = DocumentCodec(Answer)
CHUNK = DocumentCodec(Chunk)
WARM = DocumentCodec(WarmTrials)
HEARTBEAT = DocumentCodec(Heartbeat)
