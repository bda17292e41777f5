"""The set of metrics is closed: made in one place, fed by a service that has it, few labels."""

import ast
import re
from collections.abc import Iterator, Mapping

import pytest

from trialbus.runtime import metrics
from trialbus.runtime.metric import Kind, Metric

SET = "shared/trialbus/runtime/metrics/"
INSTRUMENTS = "shared/trialbus/runtime/telemetry.py"
PRODUCT = re.compile(r"(shared/trialbus/(?!testkit/)|services/\w+/trialbus_)")
SERVICE = re.compile(r"services/(\w+)/")
# What makes something that is counted, timed or collected; reading formats is no instrument.
MAKERS = {
    "Counter",
    "Gauge",
    "Histogram",
    "Summary",
    "Info",
    "Enum",
    "REGISTRY",
    "CollectorRegistry",
    "start_http_server",
}
# A registry as a type: who shows one makes none.
SHOWS = {"shared/trialbus/adapters/http/health.py": {"CollectorRegistry"}}
NAME = re.compile(r"trialbus_[a-z]+(_[a-z]+)*")
# pkg/controller.v1beta1/experiment/util/prometheus_metrics.go, and trial/util, of Katib 0.19.
KATIB = {
    *(f"katib_experiment_{it}_total" for it in ("created", "deleted", "succeeded", "failed")),
    *(f"katib_trial_{it}_total" for it in ("created", "deleted", "succeeded", "failed")),
    "katib_trial_metrics_unavailable_total",
    "katib_experiments_current",
    "katib_trials_current",
}
# Each has a handful of values, however many experiments there are. Whoever adds one sees to that.
LABELS = {
    "algorithm",
    "awaited",
    "code",
    "collection",
    "command",
    "error",
    "folder",
    "kind",
    "method",
    "namespace",
    "operation",
    "outcome",
    "place",
    "python",
    "reason",
    "route",
    "rule",
    "service",
    "source",
    "state",
    "status",
    "verb",
    "version",
    "what",
}
CONSTANTS = {name: it for name, it in vars(metrics).items() if isinstance(it, Metric)}


def foreign_instruments(path: str, text: str) -> Iterator[str]:
    """Imports of what makes instruments, outside the one module that may."""
    if "prometheus_client" not in text or path == INSTRUMENTS or not PRODUCT.match(path):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            whole = [it.name for it in node.names if it.name.startswith("prometheus_client")]
            yield from (f"{path}:{node.lineno}: import of {name} as a whole" for name in whole)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "prometheus_client"
        ):
            names = {it.name for it in node.names} & MAKERS - SHOWS.get(path, set())
            yield from (f"{path}:{node.lineno}: {name} makes an instrument" for name in names)


def uses(text: str) -> set[str]:
    """Constants of the set that a module names."""
    return set(re.findall(r"\bmetrics\.([A-Z][A-Z_]*)\b", text)) & CONSTANTS.keys()


def misnamed(metric: Metric) -> Iterator[str]:
    name = metric.name
    if name.startswith("katib_"):
        if name not in KATIB:
            yield f"{name} is no name of Katib's"
        return
    if not NAME.fullmatch(name):
        yield f"{name}: not trialbus_<noun>_<unit>[_total]"
    if (metric.kind is Kind.COUNTER) != name.endswith("_total"):
        yield f"{name}: a counter, and nothing else, ends with _total"
    if metric.kind is Kind.HISTOGRAM and not name.endswith("_seconds"):
        yield f"{name}: histograms are in seconds"


def product(python_sources: Mapping[str, str]) -> Mapping[str, str]:
    return {
        path: text
        for path, text in python_sources.items()
        if PRODUCT.match(path) and not path.startswith(SET)
    }


def test_instruments_are_made_in_one_module(python_sources: Mapping[str, str]) -> None:
    problems = [
        it for path, text in python_sources.items() for it in foreign_instruments(path, text)
    ]
    assert not problems, "\n".join(problems)


def test_every_metric_is_fed_by_a_service_that_has_it(python_sources: Mapping[str, str]) -> None:
    by_place: dict[str, set[str]] = {}
    for path, text in product(python_sources).items():
        service = SERVICE.match(path)
        by_place.setdefault(service[1] if service else "", set()).update(uses(text))
    every = by_place.pop("", set())
    fed = {
        name
        for name, metric in CONSTANTS.items()
        if name in every
        or any(name in used for service, used in by_place.items() if metric.is_of(service))
    }
    assert sorted(CONSTANTS.keys() - fed) == []


def test_no_service_feeds_what_it_does_not_have(python_sources: Mapping[str, str]) -> None:
    problems = [
        f"{path}: {name} is of {', '.join(CONSTANTS[name].services)}"
        for path, text in product(python_sources).items()
        if (service := SERVICE.match(path))
        for name in uses(text)
        if not CONSTANTS[name].is_of(service[1])
    ]
    assert not problems, "\n".join(problems)


def test_names_and_buckets_follow_the_rules() -> None:
    problems = [problem for metric in metrics.ALL for problem in misnamed(metric)]
    assert not problems, "\n".join(problems)
    assert len({metric.name for metric in metrics.ALL}) == len(metrics.ALL)
    for metric in metrics.ALL:
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM), metric.name
        assert not metric.shared or metric.kind is Kind.GAUGE, metric.name
    assert {metric.name for metric in metrics.ALL if metric.name.startswith("katib_")} == KATIB


def test_labels_are_few_and_say_what_they_are() -> None:
    names = {label.name for metric in metrics.ALL for label in metric.labels}
    assert names - LABELS == set()
    assert LABELS - names == set(), "no metric has these any more"
    for metric in metrics.ALL:
        assert metric.meaning.endswith("."), metric.name
        assert all(label.meaning for label in metric.labels), metric.name
        assert set(metric.services) <= metrics.SERVICES, metric.name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from prometheus_client import Counter\n", ["Counter makes an instrument"]),
        ("from prometheus_client.metrics import Gauge\n", ["Gauge makes an instrument"]),
        ("import prometheus_client\n", ["import of prometheus_client as a whole"]),
        ("from prometheus_client.parser import text_string_to_metric_families\n", []),
    ],
)
def test_an_instrument_elsewhere_is_found(source: str, found: list[str]) -> None:
    path = "services/gateway/trialbus_gateway/app/x.py"
    assert [it.split(": ")[1] for it in foreign_instruments(path, source)] == found
    assert list(foreign_instruments(INSTRUMENTS, source)) == []
