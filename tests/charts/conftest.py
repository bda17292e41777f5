"""The charts, put together once for all tests, and what they render."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm_python", reason="Helm's engine comes for Linux only")

from making.charts.rendering import (
    UMBRELLA,
    build_charts,
    example_values,
    objects_of,
    rendered,
)

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]
NAMES = ("default", "external", "laptop-kind", "namespaced", "production")


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each chart and what it depends on."""
    return build_charts(tmp_path_factory.mktemp("charts"))


@pytest.fixture(scope="session")
def cases() -> Mapping[str, Mapping[str, Any]]:
    """Values by name: none, and those of the examples."""
    found = {"default": {}, **example_values()}
    assert sorted(found) == sorted(NAMES)
    return found


@pytest.fixture(scope="session")
def texts(charts: Path, cases: Mapping[str, Mapping[str, Any]]) -> Mapping[str, str]:
    """What the umbrella renders with them."""
    return {name: rendered(charts / UMBRELLA, values) for name, values in cases.items()}


@pytest.fixture(scope="session")
def renderings(texts: Mapping[str, str]) -> Mapping[str, Objects]:
    """The same as objects."""
    return {name: objects_of(text) for name, text in texts.items()}


@pytest.fixture(scope="session")
def render(charts: Path) -> Render:
    """Renders one chart with some values: render(values, chart="trialbus")."""

    def objects(values: Mapping[str, Any], chart: str = UMBRELLA, **names: str) -> Objects:
        return objects_of(rendered(charts / chart, values, **names))

    return objects
