"""Rendering the charts with Helm's own engine, as `helm template` does; no cluster, no network."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

from making.charts.files import CHARTS

LIBRARY, UMBRELLA = "trialbus-lib", "trialbus"
# The one in C, where there is one, is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Object = dict[str, Any]
Values = Mapping[str, Any]


def build_charts(target: Path) -> Path:
    """A copy of deploy/helm below `target` in which each chart has what it depends on."""
    charts = target / "helm"
    shutil.copytree(CHARTS, charts, ignore=shutil.ignore_patterns("charts", "*.lock", "*.tgz"))
    names = sorted(it.parent.name for it in charts.glob("*/Chart.yaml"))
    # The umbrella last: it takes the others with what they have then.
    for name in [*(it for it in names if it not in (LIBRARY, UMBRELLA)), UMBRELLA]:
        helm.dependency_update(charts / name, skip_refresh=True)
    return charts


@contextmanager
def built_charts() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield build_charts(Path(folder))


def package_charts(charts: Path, target: Path) -> list[Path]:
    """An archive of each chart that can be installed."""
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(it.parent.name for it in charts.glob("*/Chart.yaml"))
    wanted = [name for name in names if name != LIBRARY]
    return [Path(helm.package(charts / name, destination=target)) for name in wanted]


def rendered(
    chart: Path,
    values: Values | None = None,
    *,
    name: str = "trialbus",
    namespace: str = "trialbus",
) -> str:
    """All manifests as one YAML text, in an order that does not change. Raises HelmError."""
    with helm.Chart.load(chart) as loaded:
        found = loaded.render(dict(values or {}), name=name, namespace=namespace)
    texts = []
    for path, text in sorted(found.items()):
        if path.endswith(".yaml"):
            for part in re.split(r"^---\n", text, flags=re.M):
                if any(line and not line.startswith("#") for line in part.splitlines()):
                    texts.append(f"# Source: {path}\n{_plain(part)}")
    return "".join(f"---\n{text}" for text in texts)


def _plain(text: str) -> str:
    """Without empty lines, which templates leave."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def objects_of(text: str) -> list[Object]:
    return [it for it in yaml.load_all(text, Loader=_LOADER) if it is not None]


def example_values() -> dict[str, Values]:
    """Name -> values of each file in deploy/helm/trialbus/examples."""
    files = sorted((CHARTS / UMBRELLA / "examples").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text()) or {} for file in files}
