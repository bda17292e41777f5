"""Calls made up from the OpenAPI document of the Kubernetes-style API: none is a server error.

TRIALBUS_CALLS: how many per operation (34 operations; `make fuzz` makes 10,000 in all).
"""

import os
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation

from trialbus.contracts.katib.openapi import openapi_v3
from trialbus.testkit.gateway_served import TIMEOUT_S, ServedGateway
from trialbus.testkit.gateway_world import PATH, gateway_world, katib

CALLS = int(os.environ.get("TRIALBUS_CALLS", "5"))
# What the server may answer with, whatever it is asked. 503 would say that a server is away.
SERVER_ERRORS = range(500, 600)
COINS = st.booleans()

AnyCase = Case[Any]
AnyOperation = APIOperation[Any, Any, Any, Any]


def operations() -> dict[str, AnyOperation]:
    found = schemathesis.openapi.from_dict(openapi_v3()).get_all_operations()
    sound = [each.ok() for each in found if isinstance(each, Ok)]
    return {operation.label: operation for operation in sound}


OPERATIONS = operations()


def test_the_document_describes_every_operation_soundly() -> None:
    described = [
        method
        for item in openapi_v3()["paths"].values()
        for method in item.keys() & {"get", "put", "post", "patch", "delete"}
    ]
    assert len(OPERATIONS) == len(described)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    with ServedGateway(lambda: gateway_world(folder)) as served:
        served.run(lambda world: world.apply())
        yield served.address


def near_the_truth(case: AnyCase, draw: st.DataObject) -> AnyCase:
    """Half of the calls name what is there, half of the bodies are a real object with one part
    made up; a watch ends soon."""
    known: bool = draw.draw(COINS)
    if case.path_parameters and known:
        case.path_parameters = {**case.path_parameters, "namespace": "lab"}
        if "name" in case.path_parameters:
            case.path_parameters = {**case.path_parameters, "name": "tune"}
    real: bool = draw.draw(COINS)
    if isinstance(case.body, dict) and real:
        case.body = _grafted(case.body, draw)
    case.query = {**(case.query or {}), "timeoutSeconds": 1}
    return case


def _grafted(made_up: dict[str, Any], draw: st.DataObject) -> dict[str, Any]:
    """A valid experiment with a part of `made_up` in the place of its own."""
    body = deepcopy(katib())
    name = draw.draw(st.sampled_from(["spec", "metadata", "status"]))
    part = made_up.get(name)
    if not isinstance(part, dict) or not part:
        return body
    field: str = draw.draw(st.sampled_from(sorted(part)))
    body.setdefault(name, {})[field] = part[field]
    return body


@pytest.mark.timeout(0 if CALLS > 100 else 300)
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_no_call_is_a_server_error(label: str, address: str) -> None:
    operation = OPERATIONS[label]

    @settings(max_examples=CALLS, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), draw=st.data())
    def calls(case: AnyCase, draw: st.DataObject) -> None:
        near = near_the_truth(case, draw)
        # An earlier call may have deleted it.
        httpx.put(f"{address}{PATH}", json={"object": katib()})
        answer = near.call(base_url=address, timeout=TIMEOUT_S)
        assert answer.status_code not in SERVER_ERRORS, answer.text

    calls()
