"""The protocol of workers: its page, its proto file and its contract say the same."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor
from pydantic import BaseModel

from trialbus.contracts.stubs import workers_pb2
from trialbus.contracts.work import (
    Answered,
    Ask,
    GivenTrial,
    HeldTrial,
    Report,
    Result,
    WorkReply,
    WorkVerb,
)

# Message of the proto file -> what it stands for.
MESSAGES: dict[str, type[BaseModel]] = {
    "Ask": Ask,
    "HeldTrial": HeldTrial,
    "Report": Report,
    "Result": Result,
    "GivenTrial": GivenTrial,
    "Answer": Answered,
    "WorkReply": WorkReply,
}
# Statuses of gRPC say these.
TOLD_BY_STATUS = {"WorkReply": {"accepted", "problems"}}


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/reference/workers.md").read_text()


@pytest.mark.parametrize("name", MESSAGES)
def test_the_proto_file_has_the_fields_of_the_contract(name: str) -> None:
    message: Descriptor = workers_pb2.DESCRIPTOR.message_types_by_name[name]
    wanted = set(MESSAGES[name].model_fields) - TOLD_BY_STATUS.get(name, set())
    assert {field.name for field in message.fields} == wanted


def test_grpc_has_every_word() -> None:
    methods = workers_pb2.DESCRIPTOR.services_by_name["Workers"].methods_by_name
    assert {name.lower() for name in methods} == set(WorkVerb)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_page_tells_of_every_field(page: str, name: str) -> None:
    missing = [field for field in MESSAGES[name].model_fields if f"`{field}`" not in page]
    assert missing == []


def test_the_page_knows_how_the_launcher_refuses(page: str, repository: Path) -> None:
    leasing = repository / "services/trial_launcher/trialbus_trial_launcher/app/leasing"
    code = (leasing / "word.py").read_text() + (leasing / "telling.py").read_text()
    told = ["the lease is over: ", "it was stopped: ", "its result was told before",
            "was not given out", "a success needs a value of "]  # fmt: skip
    table = "".join(re.findall(r"^\| `.*$", page, re.M))
    for words in told:
        assert words in code, f"the launcher does not say {words!r} any more"
        assert words.strip() in table
