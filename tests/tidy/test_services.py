"""Every service has the same shape, and one page that says what it is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HEADINGS = ("consumes", "produces", "owns", "invariants", "failure modes")
PARTS = ("core/__init__.py", "app/__init__.py", "adapters/__init__.py", "main.py")


def shape_problems(service: Path) -> Iterator[str]:
    """What a service's folder lacks."""
    for part in PARTS:
        if not (service / f"trialbus_{service.name}" / part).is_file():
            yield f"{service.name}: no trialbus_{service.name}/{part}"
    readme = service / "README.md"
    if not readme.is_file():
        yield f"{service.name}: no README.md"
        return
    text = readme.read_text(encoding="utf-8").lower()
    for heading in HEADINGS:
        if not re.search(rf"^#+ +{heading}\b", text, re.M):
            yield f"{service.name}/README.md: no heading '{heading}'"


def _whole_service(folder: Path) -> Path:
    service = folder / "gateway"
    for part in PARTS:
        file = service / "trialbus_gateway" / part
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (service / "README.md").write_text("".join(f"## {h.capitalize()}\n" for h in HEADINGS))
    return service


def test_every_service_has_its_shape_and_its_page(repository: Path) -> None:
    services = [f for f in (repository / "services").iterdir() if f.is_dir()]
    assert len(services) >= 6
    problems = [p for service in sorted(services) for p in shape_problems(service)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_found(tmp_path: Path, part: str) -> None:
    service = _whole_service(tmp_path)
    assert not list(shape_problems(service))
    (service / "trialbus_gateway" / part).unlink()
    assert list(shape_problems(service)) == [f"gateway: no trialbus_gateway/{part}"]


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_missing_heading_is_found(tmp_path: Path, heading: str) -> None:
    service = _whole_service(tmp_path)
    readme = service / "README.md"
    readme.write_text(readme.read_text().replace(f"## {heading.capitalize()}", heading))
    assert list(shape_problems(service)) == [f"gateway/README.md: no heading '{heading}'"]


def test_a_missing_page_is_found(tmp_path: Path) -> None:
    service = _whole_service(tmp_path)
    (service / "README.md").unlink()
    assert list(shape_problems(service)) == ["gateway: no README.md"]
