"""While an update rolls through, two versions read each other's documents and messages."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import pytest

from trialbus.contracts.documents import ANSWER, CHUNK, EXPERIMENT, RUN, TRIAL, DocumentCodec
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import Run
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial
from trialbus.testkit.gateway_examples import documents_by_collection

KINDS: Mapping[str, tuple[type, DocumentCodec[Any]]] = {
    "experiments": (Experiment, EXPERIMENT),
    "trials": (Trial, TRIAL),
    "runs": (Run, RUN),
    "chunks": (Chunk, CHUNK),
    "answers": (Answer, ANSWER),
}


def _documents(collection: str) -> list[dict[str, Any]]:
    found = documents_by_collection()[collection]
    assert found
    return found


@pytest.mark.parametrize("collection", KINDS)
def test_fields_of_a_newer_version_are_passed_over(collection: str) -> None:
    """Of a document and of what is nested in it."""
    _, codec = KINDS[collection]
    for document in _documents(collection):
        newer = {
            name: {**value, "of_the_next": 1}
            if isinstance(value, dict) and "type" in value
            else value
            for name, value in document.items()
        }
        assert codec.decode({**newer, "of_the_next": {"a": [1]}}) == codec.decode(document)


@pytest.mark.parametrize("collection", KINDS)
def test_fields_that_an_older_version_did_not_write_have_their_defaults(collection: str) -> None:
    kind, codec = KINDS[collection]
    for document in _documents(collection):
        optional = {
            field.name
            for field in fields(kind)
            if field.default is not MISSING or field.default_factory is not MISSING
        }
        older = {name: value for name, value in document.items() if name not in optional}
        read = codec.decode(older)
        whole = codec.decode(document)
        for field in fields(kind):
            if field.name not in optional:
                assert getattr(read, field.name) == getattr(whole, field.name)
