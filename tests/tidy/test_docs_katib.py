"""docs/katib.md tells of every field, every rpc and every method of Katib's client."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from trialbus.contracts.katib import models, models_spec, models_status, models_template

MODULES = (models, models_spec, models_status, models_template)
CODE = re.compile(r"`([^`\n]+)`")


def _fields() -> set[str]:
    classes = (
        each
        for module in MODULES
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, BaseModel)
    )
    return {field.alias or name for each in classes for name, field in each.model_fields.items()}


def _rpcs(proto: str) -> set[str]:
    """`Service.Method`."""
    found = set()
    for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", proto, re.M | re.S):
        found |= {f"{service}.{method}" for method in re.findall(r"\brpc (\w+)", body)}
    return found


def _untold(page: str, wanted: set[str]) -> Iterator[str]:
    told = {word for code in CODE.findall(page) for word in re.findall(r"[\w.]+", code)}
    yield from (name for name in sorted(wanted) if name not in told)


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs/katib.md").read_text(encoding="utf-8")


def test_every_field_is_told(page: str) -> None:
    fields = _fields()
    assert len(fields) > 80
    assert list(_untold(page, fields)) == []


def test_every_rpc_is_told(page: str, repository: Path) -> None:
    rpcs = _rpcs((repository / "proto/katib/api.proto").read_text())
    assert len(rpcs) == 8
    assert list(_untold(page, rpcs)) == []


def test_every_called_method_of_the_client_is_told(page: str, repository: Path) -> None:
    scripts = (repository / "tests/data/katib_client").glob("*.py")
    methods = {
        name
        for script in scripts
        for name in re.findall(r"\bclient\.([a-z]\w+)\(", script.read_text())
    }
    assert len(methods) > 20
    assert list(_untold(page, methods)) == []


@pytest.mark.parametrize("name", ["maxTrialCount", "DBManager.GetObservationLog", "tune"])
def test_a_gap_is_found(page: str, name: str) -> None:
    assert list(_untold(page.replace(f"`{name}`", ""), {name})) == [name]
