"""The documents lead somewhere: links, make targets and help lines."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
MAKE = re.compile(r"`make ([a-z][a-z-]*)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)


def broken_links(repository: Path, path: str, text: str) -> Iterator[str]:
    """Relative links of a Markdown page that lead to no file."""
    for target in LINK.findall(FENCE.sub("", text)):
        file = target.partition("#")[0]
        if not file or re.match(r"[a-z]+:", file):
            continue
        if not ((repository / path).parent / file).exists():
            yield f"{path}: broken link {target}"


def make_targets(makefile: str) -> set[str]:
    """The targets that people call."""
    return set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.M))


def unknown_targets(path: str, text: str, targets: set[str]) -> Iterator[str]:
    """Commands of a page that the Makefile does not have."""
    for target in MAKE.findall(text):
        if target not in targets:
            yield f"{path}: no target for `make {target}`"


def test_links_lead_to_files(repository: Path, texts: Mapping[str, str]) -> None:
    pages = [(path, text) for path, text in texts.items() if path.endswith(".md")]
    problems = [p for path, text in pages for p in broken_links(repository, path, text)]
    assert not problems, "\n".join(problems)


def test_the_make_commands_of_the_pages_exist(texts: Mapping[str, str]) -> None:
    targets = make_targets(texts["Makefile"])
    pages = [(path, text) for path, text in texts.items() if path.endswith(".md")]
    problems = [p for path, text in pages for p in unknown_targets(path, text, targets)]
    assert not problems, "\n".join(problems)


def test_every_make_target_has_a_help_line(texts: Mapping[str, str]) -> None:
    with_help = set(re.findall(r"^([a-z-]+):.*## \S", texts["Makefile"], re.M))
    assert with_help == make_targets(texts["Makefile"])


def test_every_decision_is_numbered_once_and_names_what_was_rejected(repository: Path) -> None:
    pages = (repository / "docs/decisions").glob("*.md")
    records = sorted(page for page in pages if page.name != "README.md")
    numbers = [record.name[:4] for record in records]
    assert all(number.isdigit() for number in numbers)
    assert len(set(numbers)) == len(numbers)
    assert [r.name for r in records if "reject" not in r.read_text().lower()] == []


@pytest.mark.parametrize("target", ["gone.md", "../gone/", "gone.md#part"])
def test_a_broken_link_is_found(tmp_path: Path, target: str) -> None:
    assert list(broken_links(tmp_path, "README.md", f"see [it]({target})"))


def test_links_that_hold_pass(tmp_path: Path) -> None:
    (tmp_path / "a.md").touch()
    text = "[a](a.md#part) [b](https://example.com/b) [c](#part)\n```\nx[0](y)\n```\n"
    assert not list(broken_links(tmp_path, "README.md", text))


def test_an_unknown_make_command_is_found() -> None:
    assert list(unknown_targets("README.md", "`make runn`", {"run"}))
    assert not list(unknown_targets("README.md", "`make run DATA_DIR=x`", {"run"}))
