"""The page of the Python client tells of every public name, and the index leads to it."""

import re
from pathlib import Path

import pytest

import trialbus
from making import client_page


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/reference/client.md").read_text()


def test_every_public_name_has_its_part_with_words(page: str) -> None:
    parts = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    assert sorted(parts) == trialbus.__all__
    fences = re.compile(r"```.*?```", re.S)
    assert [name for name, text in parts.items() if len(fences.sub("", text).strip()) < 20] == []


@pytest.mark.parametrize("kind", [trialbus.Client, trialbus.AskedTrial])
def test_every_method_is_told_of(page: str, kind: type) -> None:
    names = [name for name in vars(kind) if not name.startswith("_")]
    assert len(names) > 4
    assert [name for name in names if not re.search(rf"^(- `)?{name}[(`]", page, re.M)] == []


def test_a_name_without_a_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trialbus, "__all__", [*trialbus.__all__, "forgotten"])
    with pytest.raises(ValueError, match="forgotten"):
        client_page.client_page()


def test_a_name_that_says_nothing_of_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trialbus.tune, "__doc__", None)
    with pytest.raises(ValueError, match="tune says nothing"):
        client_page.client_page()
