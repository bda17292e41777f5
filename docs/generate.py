"""Makes the reference pages out of what the code says of itself: `make generate`. Also the custom
resource definitions, out of the models, the stubs of proto/katib, and the values of deploy/helm.

Kept by hand: the schema, `id` and `about` in proto/events/<event>.json, and the sentences in
docs/reference/texts.yaml. The rest of those files and pages follows from the code.

`--check` writes nothing and exits with 1 when a file is not what would be written.
"""

import argparse
import inspect
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from grpc_tools import protoc  # type: ignore[import-untyped]
from pydantic_core import PydanticUndefined

from making.algorithm_pages import algorithms_page, pages_of_descriptions
from making.asyncapi import asyncapi
from making.charts.files import chart_files
from making.client_page import client_page
from making.cluster_pages import cluster_permissions_page
from making.dashboards.files import dashboard_files
from making.event_pages import EVENTS, contract, events_page
from making.event_releases import release_events
from making.http_pages import http_calls_page
from making.nats_pages import permissions_table
from making.page_parts import Row, between_marks, sentence, table
from making.pipeline_steps import pipeline_steps
from making.rules.files import rule_files
from making.series_page import series_page
from trialbus.contracts.collections import COLLECTIONS, CollectionSpec
from trialbus.contracts.katib.schemas import KINDS
from trialbus.contracts.katib.schemas_crd import custom_resource_definition
from trialbus.kernel import limits
from trialbus.kernel.chunks import Chunk
from trialbus.kernel.events import EVENT_TYPES
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.heartbeats import Heartbeat
from trialbus.kernel.run import Run
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial
from trialbus.kernel.warm_start import WarmTrials
from trialbus.runtime import metrics
from trialbus.runtime.metric import Metric
from trialbus.runtime.settings import Settings
from trialbus_early_stopping.app.evidence_documents import RunEvidence
from trialbus_experiment.core.states import TRANSITIONS
from trialbus_gateway.app.resource_documents import ResourceHome, ResourceKeeper, ResourceLink
from trialbus_gateway.app.webhook_documents import Delivery, Webhook

REPOSITORY = Path(__file__).resolve().parents[1]
REFERENCE = REPOSITORY / "docs/reference"
DEFINITIONS = REPOSITORY / "deploy/crds"
PROTO = REPOSITORY / "proto"
CONTRACTS = REPOSITORY / "shared/trialbus/contracts"
# Where imports of a file begin, the file below it, and where its messages are kept.
INTERFACES = (
    (PROTO / "katib", "api.proto", CONTRACTS / "katib/stubs"),
    (PROTO, "trialbus/v1/workers.proto", CONTRACTS / "stubs"),
)
BUS = REPOSITORY / "docs/how-to/secure-the-bus.md"
LIFE_CYCLE = REPOSITORY / "docs/explanation/experiment-life-cycle.md"
NOTE = "<!-- Made by docs/generate.py; `make generate` makes it again. -->\n"
DOCUMENTS: Mapping[str, type] = {
    "experiments": Experiment,
    "trials": Trial,
    "warm_trials": WarmTrials,
    "answers": Answer,
    "runs": Run,
    "chunks": Chunk,
    "evidence": RunEvidence,
    "webhooks": Webhook,
    "deliveries": Delivery,
    "resources": ResourceLink,
    "resource_keepers": ResourceKeeper,
    "heartbeats": Heartbeat,
    "resource_homes": ResourceHome,
}
Texts = Mapping[str, Any]


def settings_page(texts: Texts) -> str:
    rows = []
    for name, info in Settings.model_fields.items():
        if not info.description or info.default is PydanticUndefined:
            raise ValueError(f"the setting {name} has no default or description")
        default = "empty" if info.default == "" else f"`{_plain(info.default)}`"
        rows.append([f"`TRIALBUS_{name.upper()}`", default, sentence(info.description)])
    outside = [[f"`{name}`", "none", text] for name, text in texts["outside settings"].items()]
    return table(["variable", "default", "meaning"], [*rows, *outside])


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def metrics_page(_: Texts) -> str:
    parts = []
    for services in dict.fromkeys(metric.services for metric in metrics.ALL):
        rows = [_metric_row(metric) for metric in metrics.ALL if metric.services == services]
        parts += [f"## {' and '.join(services) or 'Every service'}\n\n"]
        parts += [table(["metric", "type", "labels", "meaning"], rows), "\n"]
    return "".join(parts).rstrip() + "\n"


def _metric_row(metric: Metric) -> Row:
    labels = "; ".join(f"`{label.name}`: {label.meaning}" for label in metric.labels)
    kind = metric.kind.value + (" (of the whole system)" if metric.shared else "")
    if metric.buckets:
        kind += f", {metric.buckets[0]:g} to {metric.buckets[-1]:g} s"
    return [f"`{metric.name}`", kind, labels or "none", metric.meaning]


def limits_page(_: Texts) -> str:
    parts = []
    rows: list[Row] = []
    for heading, name, reason in limit_comments(inspect.getsource(limits)):
        if heading:
            parts.append(table(["limit", "value", "why"], rows) if rows else "")
            parts.append(f"\n## {heading}\n\n" if rows else f"## {heading}\n\n")
            rows = []
        elif not reason:
            raise ValueError(f"the limit {name} does not say why")
        else:
            by_setting = name.lower() in Settings.model_fields
            setting = f" Setting `TRIALBUS_{name}`." if by_setting else ""
            shown = with_unit(name, getattr(limits, name))
            rows.append([f"`{name}`", shown, sentence(reason) + setting])
    return "".join(parts) + table(["limit", "value", "why"], rows)


def limit_comments(source: str) -> Iterator[tuple[str, str, str]]:
    """(heading, "", "") or ("", name, the comment right above it), in the order of the source."""
    comment: list[str] = []
    for line in source.splitlines():
        heading = re.fullmatch(r"# (.+?) -{5,}", line)
        name = re.match(r"([A-Z][A-Z_]*) = ", line)
        if heading:
            yield heading[1], "", ""
        elif name:
            yield "", name[1], " ".join(comment)
        if line.startswith("# ") and not heading:
            comment.append(line.removeprefix("# "))
        else:
            comment = []


def with_unit(name: str, value: float) -> str:
    """The value with the unit that its name ends in, as people say it."""
    if name.endswith("_S"):
        for size, unit in ((86400, "days"), (3600, "h")):
            if value >= 2 * size and value % size == 0:
                return f"{value / size:g} {unit}"
        return f"{value:g} s"
    if name.endswith("_BYTES"):
        for size, unit in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
            if value % size == 0:
                return f"{value // size:g} {unit}"
        return f"{value:,} bytes"
    return f"{value:,}"


def collections_page(texts: Texts) -> str:
    told = texts["collections"]
    names = [spec.name for spec in COLLECTIONS]
    if sorted(told) != sorted(names):
        raise ValueError(f"texts.yaml tells of {sorted(told)}, there are {sorted(names)}")
    return "\n".join(_collection(spec, told[spec.name]) for spec in COLLECTIONS)


def _collection(spec: CollectionSpec, text: Mapping[str, Any]) -> str:
    kind = DOCUMENTS[spec.name]
    names = [field.name for field in fields(kind) if field.name != "id"]
    if set(text["fields"]) != set(names):
        raise ValueError(f"{spec.name}: {sorted(set(text['fields']) ^ set(names))} in one only")
    indexes = "; ".join(
        f"`{', '.join(index.fields)}`"
        + (" unique" if index.unique else "")
        + (" sparse" if index.sparse else "")
        for index in spec.indexes
    )
    owner = f"[{spec.owner}](../../services/{spec.owner}/README.md)"
    return (
        f"## {spec.name}\n\n{text['about']}\n\n"
        f"- Owner: {owner if spec.owner else 'each service, of its own documents'}\n"
        f"- Key: {text['key']}\n- Indexes: {indexes or 'the key alone'}\n\n"
        + table(["field", "meaning"], [[f"`{name}`", text["fields"][name]] for name in names])
    )


def life_cycle_diagram() -> str:
    lines = ["```mermaid\nstateDiagram-v2\n    [*] --> Created\n"]
    for phase, changes in TRANSITIONS.items():
        lines += [
            f"    {phase.value} --> {after.value}: {happening.value}\n"
            for happening, after in changes.items()
        ]
        lines += [] if changes else [f"    {phase.value} --> [*]\n"]
    return "".join([*lines, "```\n"])


class _PlainDumper(yaml.SafeDumper):
    """YAML for people: no anchors, lists indented under their names."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def asyncapi_document() -> dict[Path, str]:
    note = NOTE.replace("<!--", "#").replace(" -->", "")
    text = yaml.dump(
        asyncapi(), Dumper=_PlainDumper, sort_keys=False, width=100, allow_unicode=True
    )
    return {REFERENCE / "asyncapi.yaml": note + text}


def definitions() -> dict[Path, str]:
    """The custom resource definitions of Katib's kinds, which a cluster takes as they are."""
    note = NOTE.replace("<!--", "#").replace(" -->", "")
    return {
        DEFINITIONS / f"{kind.singular}.yaml": note
        + yaml.dump(
            custom_resource_definition(kind), Dumper=_PlainDumper, sort_keys=False, width=100
        )
        for kind in KINDS
    }


def stubs(root: Path, name: str, target: Path) -> dict[Path, str]:
    """What protoc makes of a gRPC interface: messages and their types, no services."""
    with tempfile.TemporaryDirectory() as folder:
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={root}",
                f"--python_out={folder}",
                f"--pyi_out={folder}",
                name,
            ]
        )
        if code:
            raise ValueError(f"protoc refuses {root / name}: exit code {code}")
        made = (Path(folder) / name).parent.glob("*_pb2.py*")
        return {target / file.name: file.read_text() for file in made}


def generated() -> dict[Path, str]:
    """Every file that this script makes -> its text."""
    files: dict[Path, str] = {}
    contracts = {}
    for name, event in EVENT_TYPES.items():
        path = EVENTS / f"{name}.json"
        contracts[name] = contract(name, event, json.loads(path.read_text()))
        files[path] = json.dumps(contracts[name], indent=2) + "\n"
    texts: Texts = yaml.safe_load((REFERENCE / "texts.yaml").read_text())
    pages: dict[str, str] = {
        "settings": settings_page(texts),
        "metrics": metrics_page(texts),
        "limits": limits_page(texts),
        "collections": collections_page(texts),
        "algorithms": algorithms_page(),
        "events": events_page(texts, contracts),
        "http-calls": http_calls_page(),
        "experiment-series": series_page(),
        "cluster-permissions": cluster_permissions_page(),
    }
    titles = {
        "algorithms": "Algorithms and stopping rules",
        "http-calls": "HTTP calls",
        "experiment-series": "Series of experiments",
        "cluster-permissions": "Permissions on a cluster",
    }
    for name, body in pages.items():
        title = titles.get(name, name.capitalize())
        head = f"{NOTE}# {title}\n\n{texts['introductions'][name]}\n"
        files[REFERENCE / f"{name}.md"] = head + body
    files[BUS] = between_marks(BUS.read_text(), permissions_table())
    files[LIFE_CYCLE] = between_marks(LIFE_CYCLE.read_text(), life_cycle_diagram())
    for interface in INTERFACES:
        files |= stubs(*interface)
    files |= client_page()
    files |= chart_files(definitions(), dashboard_files())
    files |= dashboard_files()
    files |= rule_files()
    return files | pages_of_descriptions() | definitions() | asyncapi_document() | pipeline_steps()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say what is old")
    parser.add_argument(
        "--release-events",
        action="store_true",
        help="keep the contracts of events as they are now as the next release of them",
    )
    arguments = parser.parse_args()
    check = arguments.check
    if arguments.release_events:
        folder = release_events()
        told = "nothing changed" if folder is None else str(folder.relative_to(REPOSITORY))
        sys.stdout.write(f"released: {told}\n")
        return 0
    old = [p for p, text in generated().items() if not p.exists() or p.read_text() != text]
    for path in old:
        sys.stdout.write(f"{'old' if check else 'written'}: {path.relative_to(REPOSITORY)}\n")
    if not check:
        for path, text in generated().items():
            path.write_text(text)
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
