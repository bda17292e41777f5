"""The generated files of deploy/helm -> their texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from making.charts.permissions import permissions_template
from making.charts.server_values import MONGODB, NATS, UMBRELLA
from making.charts.service_values import SERVICE_CHARTS, service_values
from making.charts.values import Part, schema_text, values_text

REPOSITORY = Path(__file__).resolve().parents[3]
CHARTS = REPOSITORY / "deploy/helm"
_NOTE = "Made by docs/generate.py; `make generate` makes it again."


def chart_values() -> Mapping[str, Sequence[Part]]:
    """Chart -> its values."""
    services = {it.name: service_values(it) for it in SERVICE_CHARTS}
    return {**services, "nats": NATS, "mongodb": MONGODB, "trialbus": UMBRELLA}


def chart_files(definitions: Mapping[Path, str], dashboards: Mapping[Path, str]) -> dict[Path, str]:
    """definitions, of custom resources, and dashboards: what the umbrella brings along."""
    files = {}
    for name, parts in chart_values().items():
        files[CHARTS / name / "values.yaml"] = f"# {_NOTE}\n{values_text(parts)}"
        files[CHARTS / name / "values.schema.json"] = schema_text(f"Values of {name}", parts)
    rules = CHARTS / "trialbus-lib/templates/_permissions.tpl"
    files[rules] = f"{{{{- /* {_NOTE} */ -}}}}\n{permissions_template()}"
    for path, text in definitions.items():
        files[CHARTS / "trialbus/crds" / path.name] = text
    for path, text in dashboards.items():
        files[CHARTS / "trialbus/files/dashboards" / path.name] = text
    return files
