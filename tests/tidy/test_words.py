"""Text that must not be left in the repository."""

import re
from collections.abc import Iterator, Mapping

import pytest

# Written in pieces, so that this file passes its own rules.
LEFTOVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
INDEX_HOST = re.compile(
    "|".join(["py" + r"pi\.org", "python" + r"hosted\.", "npm" + r"js\.", r"deb\.deb" + r"ian\."])
)
INDEX_OPTION = re.compile(r"^\s*(-i|-f|--(extra-)?index-url|--find-links|--trusted-host)\b", re.M)
MACHINE_PATH = re.compile(r"(?<![\w.])/wo" + r"rk/")


def leftovers(path: str, text: str) -> Iterator[str]:
    """Marks of unfinished work, and names of machines and package indexes."""
    for number, line in enumerate(text.splitlines(), start=1):
        for rule, problem in (
            (LEFTOVER, "a leftover marker"),
            (INDEX_HOST, "the host of a package index"),
            (MACHINE_PATH, "a path of one machine"),
        ):
            if rule.search(line):
                yield f"{path}:{number}: {problem}"
    if path.endswith(".lock") and INDEX_OPTION.search(text):
        yield f"{path}: the address of a package index"


def test_no_file_has_leftovers(texts: Mapping[str, str]) -> None:
    problems = [p for path, text in texts.items() for p in leftovers(path, text)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "x = 1  # TO" + "DO: more"),
        ("a.md", "FIX" + "ME"),
        ("a.yaml", "a: XX" + "X"),
        ("a.md", "see https://py" + "pi.org/project/a"),
        ("a.toml", "https://files.python" + "hosted.org/a"),
        ("a.md", "cd /wo" + "rk/main"),
        ("requirements/a.lock", "--index" + "-url https://example.com/simple\na==1"),
        ("requirements/a.lock", "--find-links /opt/wheels\na==1"),
    ],
)
def test_a_leftover_is_found(path: str, text: str) -> None:
    assert list(leftovers(path, text))


def test_ordinary_text_passes() -> None:
    assert not list(leftovers("a.md", "The frame" + "work/adapters; XXXL; todos; ./work/x"))
