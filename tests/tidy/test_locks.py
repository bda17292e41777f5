"""The lock files agree with pyproject.toml and with one another, and pin by hash."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("build", "dev", "local")
# Of a container image: the extra of its service, or a list of its own.
OF_EXTRAS = (
    *("gateway", "experiment", "suggestion", "trial-launcher"),
    *("metrics-collector", "early-stopping", "cli"),
)
OF_LISTS = ("trainer", "nats", "mongod")
# The reference machine of the lock files, whatever the test runs on.
MACHINE = {"sys_platform": "linux", "platform_system": "Linux"}


def pins(text: str) -> dict[str, set[str]]:
    """Package -> its pinned versions (more than one where they differ by Python version)."""
    found: dict[str, set[str]] = {}
    for line in re.findall(r"^[A-Za-z0-9].*", text, re.M):
        requirement = Requirement(line.rstrip(" \\"))
        version = str(requirement.specifier).removeprefix("==")
        found.setdefault(canonicalize_name(requirement.name), set()).add(version)
    return found


def lock_problems(name: str, text: str, wanted: list[str]) -> Iterator[str]:
    """What is unhashed, not pinned, or not what is wanted."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    for entry in entries:
        if "--hash=sha256:" not in entry or "==" not in entry:
            yield f"{name}: no pin with hash: {entry.splitlines()[0]}"
    pinned = pins(text)
    for text_of_wanted in wanted:
        requirement = Requirement(text_of_wanted)
        if requirement.marker and not requirement.marker.evaluate(MACHINE):
            continue
        versions = pinned.get(canonicalize_name(requirement.name), set())
        if not versions or not all(requirement.specifier.contains(v) for v in versions):
            yield f"{name}: wants {requirement}, has {sorted(versions) or 'nothing'}: make lock"


def wanted_by(project: dict[str, dict[str, list[str]]], extra: str) -> list[str]:
    """The project's requirements and an extra's, with the extras that it names."""
    optional = project["optional-dependencies"]
    found: list[str] = list(project["dependencies"])
    waiting = [extra]
    while waiting:
        for text in optional[waiting.pop()]:
            requirement = Requirement(text)
            if requirement.name == "trialbus":
                waiting += requirement.extras
            else:
                found.append(text)
    return found


@pytest.fixture(scope="module")
def locks(repository: Path) -> dict[str, str]:
    """Lock file name -> text."""
    return {name: (repository / f"requirements/{name}.lock").read_text() for name in LOCKS}


def test_the_locks_hold_what_the_project_asks_for(locks: dict[str, str], repository: Path) -> None:
    pyproject = tomllib.loads((repository / "pyproject.toml").read_text())
    build_in = (repository / "requirements/build.in").read_text()
    build = [line for line in build_in.splitlines() if not line.startswith("#")]
    wanted = {
        "build": [*build, *pyproject["build-system"]["requires"]],
        "dev": [*wanted_by(pyproject["project"], "dev"), *build],
        "local": wanted_by(pyproject["project"], "local"),
    }
    problems = [p for name in LOCKS for p in lock_problems(name, locks[name], wanted[name])]
    assert not problems, "\n".join(problems)


def test_one_environment_can_hold_all_locks(locks: dict[str, str]) -> None:
    dev = pins(locks["dev"])
    for name in ("build", "local"):
        assert pins(locks[name]).items() <= dev.items()


@pytest.mark.parametrize("image", [*OF_EXTRAS, *OF_LISTS])
def test_the_lock_of_an_image_holds_its_own_dependencies_as_they_are_tested(
    image: str, locks: dict[str, str], repository: Path
) -> None:
    folder = repository / "requirements/images"
    text = (folder / f"{image}.lock").read_text()
    pyproject = tomllib.loads((repository / "pyproject.toml").read_text())
    if image in OF_EXTRAS:
        wanted = wanted_by(pyproject["project"], image)
    else:
        lines = (folder / f"{image}.in").read_text().splitlines()
        wanted = [line for line in lines if not line.startswith("#")]
    assert list(lock_problems(image, text, wanted)) == []
    assert pins(text).items() <= pins(locks["dev"]).items()
    assert "://" not in text, "an address of an index"


def test_no_lock_brings_cuda(locks: dict[str, str]) -> None:
    heavy = [n for n in pins(locks["dev"]) if n.startswith(("nvidia", "torch", "tensorflow"))]
    assert heavy == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a==1 \\\n    --hash=sha256:00\nb==1", []),
        ("a==1 \\\n    --hash=sha256:00", ["b"]),
        ("a==1 \\\n    --hash=sha256:00", ["a>=2"]),
    ],
)
def test_a_stale_or_unhashed_lock_is_found(text: str, wanted: list[str]) -> None:
    assert list(lock_problems("a", text, wanted))
