"""Calls made up from the OpenAPI document of the API under /v1: none is a server error, and every
answer is as documented.

TRIALBUS_CALLS: how many per operation (about 30; `make fuzz CALLS=200` makes 6,000 in all).
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation

from trialbus.ports.store import Query
from trialbus.testkit.documented_answers import DocumentedAnswers
from trialbus.testkit.gateway_documents import UID
from trialbus.testkit.gateway_examples import documents_by_collection, example_world
from trialbus.testkit.gateway_served import TIMEOUT_S, ServedGateway
from trialbus.testkit.gateway_world import World

CALLS = int(os.environ.get("TRIALBUS_CALLS", "4"))
# What the server may answer with, whatever it is asked. 503 would say that a server is away.
SERVER_ERRORS = range(500, 600)
# Where what is made up for a path makes it another path, or none.
OF_OTHER_PATHS = {307, 404, 405}
COINS = st.booleans()
KNOWN = {"namespace": "lab", "name": "tune", "trial": "tune-b7bs7xfp"}

AnyCase = Case[Any]
AnyOperation = APIOperation[Any, Any, Any, Any]


async def _document() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        async with example_world(Path(folder)) as world:
            return await world.get("/v1/openapi.json")


DOCUMENT = asyncio.run(_document())


def operations() -> dict[str, AnyOperation]:
    found = schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    sound = [each.ok() for each in found if isinstance(each, Ok)]
    return {operation.label: operation for operation in sound}


OPERATIONS = operations()
ANSWERS = DocumentedAnswers(DOCUMENT)


def test_the_document_describes_every_operation_soundly() -> None:
    described = [
        method
        for item in DOCUMENT["paths"].values()
        for method in item.keys() & {"get", "put", "post", "patch", "delete"}
    ]
    assert len(OPERATIONS) == len(described)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with ServedGateway(lambda: example_world(folder)) as gateway:
        yield gateway


async def as_at_first(world: World) -> None:
    """An earlier call may have changed or deleted it."""
    states = {it["_id"]: it["version"] for it in world.store.documents("experiments")}
    if states.get(UID) == 1 and len(states) < 10:
        return
    for collection, documents in documents_by_collection().items():
        await world.store.client("tests").delete(collection, Query())
        await world.put(*documents, into=collection)


def near_the_truth(case: AnyCase, draw: st.DataObject) -> AnyCase:
    """Half of the calls name what is there, half of the bodies are an example with one part made
    up; whatever follows or waits ends soon."""
    known: bool = draw.draw(COINS)
    if case.path_parameters and known:
        given = {name: KNOWN.get(name, value) for name, value in case.path_parameters.items()}
        case.path_parameters = given
    real: bool = draw.draw(COINS)
    if isinstance(case.body, dict) and real:
        case.body = _grafted(case, case.body, draw)
    query = dict(case.query or {})
    # A wrong flag or number is tried, but not one that means to wait.
    if str(query.get("follow", "")).lower() in ("", "true", "1"):
        query.pop("follow", None)
    if str(query.get("wait", "")).isdigit():
        query["wait"] = "0"
    case.query = query
    return case


def _grafted(case: AnyCase, made_up: dict[str, Any], draw: st.DataObject) -> dict[str, Any]:
    """The body of an example, with a field of what was made up in the place of its own."""
    content = case.operation.definition.raw["requestBody"]["content"]
    examples = [
        example["value"]
        for told in content.values()
        for example in told["examples"].values()
        if isinstance(example["value"], dict)
    ]
    if not examples or not made_up:
        return made_up
    body: dict[str, Any] = deepcopy(draw.draw(st.sampled_from(examples)))
    field: str = draw.draw(st.sampled_from(sorted(made_up)))
    body[field] = made_up[field]
    return body


def cases(operation: AnyOperation) -> st.SearchStrategy[AnyCase]:
    """As described and, where there is anything to do wrong, otherwise."""
    raw = operation.definition.raw
    sound = operation.as_strategy()
    if not raw.get("parameters") and "requestBody" not in raw:
        return sound
    return st.one_of(sound, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


@pytest.mark.timeout(0 if CALLS > 100 else 300)
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_no_call_is_a_server_error_and_every_answer_is_documented(
    label: str, served: ServedGateway
) -> None:
    operation = OPERATIONS[label]

    @settings(max_examples=CALLS, suppress_health_check=list(HealthCheck))
    @given(case=cases(operation), draw=st.data())
    def calls(case: AnyCase, draw: st.DataObject) -> None:
        near = near_the_truth(case, draw)
        served.run(as_at_first)
        answer = near.call(base_url=served.address, timeout=TIMEOUT_S)
        assert answer.status_code not in SERVER_ERRORS, answer.text
        if answer.status_code not in OF_OTHER_PATHS:
            ANSWERS.check(
                operation.method,
                operation.path,
                status=answer.status_code,
                content_type=answer.headers["content-type"][0],
                content=answer.content,
            )

    calls()
