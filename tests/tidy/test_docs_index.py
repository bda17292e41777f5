"""Every page can be reached: from the index of its folder, and that from the README."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LINK = re.compile(r"\]\(([^)#\s]+)")


def unlisted(index: Path, pages: list[Path]) -> Iterator[str]:
    """Pages that the index has no link to."""
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    for page in pages:
        if page.resolve() not in linked:
            yield f"{index.name} does not lead to {page.name}"


def test_the_index_of_the_documentation_leads_to_every_page(repository: Path) -> None:
    docs = repository / "docs"
    elsewhere = {"decisions", "algorithms", "stopping-rules"}
    pages = [page for page in docs.glob("*/*.md") if page.parent.name not in elsewhere]
    assert len(pages) > 12
    assert list(unlisted(docs / "README.md", [*pages, docs / "decisions/README.md"])) == []


def test_the_index_of_decisions_leads_to_every_record(repository: Path) -> None:
    folder = repository / "docs/decisions"
    records = [page for page in folder.glob("*.md") if page.name != "README.md"]
    assert list(unlisted(folder / "README.md", records)) == []


def test_the_list_of_algorithms_leads_to_the_page_of_each(repository: Path) -> None:
    docs = repository / "docs"
    pages = [*docs.glob("algorithms/*.md"), *docs.glob("stopping-rules/*.md")]
    assert len(pages) >= 10
    assert list(unlisted(docs / "reference/algorithms.md", pages)) == []


def test_the_readme_leads_to_every_service_and_to_the_documentation(repository: Path) -> None:
    pages = [*(repository / "services").glob("*/README.md"), repository / "docs/README.md"]
    assert len(pages) >= 7
    assert list(unlisted(repository / "README.md", pages)) == []


def test_the_readme_shows_the_two_commands_before_anything_else_to_run(repository: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (repository / "README.md").read_text(), re.M | re.S)
    commands = re.findall(r"^(make \w+)", blocks[0], re.M)
    assert commands == ["make run", "make test"]


@pytest.mark.parametrize("text", ["", "[a](b.md)", "(a.md)"])
def test_a_page_that_cannot_be_reached_is_found(tmp_path: Path, text: str) -> None:
    index = tmp_path / "README.md"
    index.write_text(text)
    assert list(unlisted(index, [tmp_path / "a.md"])) == ["README.md does not lead to a.md"]
    index.write_text("see [it](a.md#part)")
    assert not list(unlisted(index, [tmp_path / "a.md"]))
