"""The rules for Prometheus: what they ask for is there, and every alert can be looked up."""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

from making.rules.burning import BURNINGS
from making.rules.files import FILES, PACKAGED, PROMETHEUS, RUNBOOK, alerts, rule_files
from making.rules.promises import PROMISES, Promise
from making.rules.rule import Alert, Record
from trialbus.runtime import metrics
from trialbus.runtime.metric import Kind, Metric

REPOSITORY = Path(__file__).resolve().parents[2]
RUNBOOK_PAGE = REPOSITORY / RUNBOOK
# What a scrape adds to every series, and what the client library tells of each process.
TARGET_LABELS = {"job", "service", "instance", "namespace"}
PROCESS = {
    "up",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
}
RULES = [rule for groups in FILES.values() for group in groups for rule in group.rules]
RECORDS = {rule.name: rule for rule in RULES if isinstance(rule, Record)}
SECTIONS = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^#|\Z)", RUNBOOK_PAGE.read_text(), re.M | re.S))
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def _series() -> dict[str, tuple[Metric, set[str]]]:
    """Name of a series as scraped -> its metric and labels of its own."""
    found = {}
    for metric in metrics.ALL:
        names = set(metric.label_names)
        if metric.kind is Kind.HISTOGRAM:
            found[f"{metric.name}_bucket"] = (metric, names | {"le"})
            found |= {f"{metric.name}_{part}": (metric, names) for part in ("count", "sum")}
        else:
            found[metric.name] = (metric, names)
    return found


SERIES = _series()


def selectors(expr: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(name, value of each label that is asked for) of all series that the expression reads."""
    seen: list[promql_parser.VectorSelector] = []

    # Selectors of ranges hold one of these, which is visited, too.
    def note(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            seen.append(node)

    promql_parser.walk(promql_parser.parse(expr), note, None)
    for it in seen:
        matchers = {m.name: m.value for m in it.matchers.matchers}
        yield it.name or matchers.pop("__name__", ""), matchers


def groupings(expr: str) -> Iterator[str]:
    """Labels that the expression groups or matches by."""
    for names in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr):
        yield from (name.strip() for name in names.split(","))


def unknown(expr: str) -> list[str]:
    """Names and labels in it that nothing has, and buckets that a histogram has not."""
    problems = []
    labels = set(TARGET_LABELS)
    for name, matchers in selectors(expr):
        if name in RECORDS:
            # `promise`, `hop`, or what its own expression leaves.
            own = {*RECORDS[name].labels, *groupings(RECORDS[name].expr)}
        elif name in SERIES:
            metric, own = SERIES[name]
            bound = matchers.get("le")
            if bound is not None and bound not in {str(float(it)) for it in metric.buckets}:
                problems.append(f"{name} has no bucket {bound}")
        elif name in PROCESS:
            own = set()
        else:
            problems.append(f"there is no {name}")
            continue
        labels |= own
        problems += [f"{name} has no label {it}" for it in matchers.keys() - own - TARGET_LABELS]
    return problems + [f"no series has {it}" for it in set(groupings(expr)) - labels]


@pytest.mark.parametrize("rule", RULES, ids=lambda it: f"{it.name} {it.expr[:20]}")
def test_a_rule_asks_for_what_there_is(rule: Record | Alert) -> None:
    assert unknown(rule.expr) == []


@pytest.mark.parametrize(
    ("expr", "problem"),
    [
        ("sum(trialbus_nothing_total)", "there is no trialbus_nothing_total"),
        ('trialbus_ready{colour="red"}', "trialbus_ready has no label colour"),
        ("sum by (colour) (trialbus_ready)", "no series has colour"),
        (
            'rate(trialbus_report_stored_seconds_bucket{le="0.7"}[5m])',
            "trialbus_report_stored_seconds_bucket has no bucket 0.7",
        ),
    ],
)
def test_what_is_not_there_is_found(expr: str, problem: str) -> None:
    assert unknown(expr) == [problem]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda it: it.name)
def test_a_promise_can_be_read_from_its_metric(promise: Promise) -> None:
    [metric] = [it for it in metrics.ALL if it.name == promise.metric]
    assert promise.bound_s is None or promise.bound_s in metric.buckets
    assert metric.is_of(promise.service)


def test_burn_rates_are_those_of_the_workbook() -> None:
    assert [(it.factor, it.long, it.short, it.severity) for it in BURNINGS] == [
        (14.4, "1h", "5m", "critical"),
        (6, "6h", "30m", "critical"),
        (3, "1d", "2h", "warning"),
        (1, "3d", "6h", "warning"),
    ]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    for alert in alerts():
        assert any(case.firing for case in alert.cases), alert.name
        assert any(not case.firing for case in alert.cases), alert.name


def test_every_alert_has_its_section_in_the_runbook_and_nothing_else_has_one() -> None:
    names = list(dict.fromkeys(alert.name for alert in alerts()))
    assert sorted(SECTIONS) == sorted(names)
    text = RUNBOOK_PAGE.read_text()
    headings = re.findall(r"^#+ (\w+)$", text, re.M)
    # An anchor leads to the first heading of its name.
    assert len({it.lower() for it in headings}) == len(headings)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_it_means_and_what_to_do(name: str) -> None:
    told = re.findall(r"^- \*\*(.+?):\*\* \S", SECTIONS[name], re.M)
    assert told == ["Means", "Users notice", "Look at", "Do"]


@functools.cache
def _panels() -> set[str]:
    titles = set()
    for file in (REPOSITORY / "deploy/grafana").glob("*.json"):
        board = json.loads(file.read_text())
        rows = [*board["panels"], *(it for row in board["panels"] for it in row.get("panels", []))]
        titles |= {it["title"] for it in rows}
    return titles


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_names_panels_queries_and_alerts_that_there_are(name: str) -> None:
    section = SECTIONS[name]
    panels = set(re.findall(r'"([A-Z][^"]+)"', section))
    assert panels <= _panels()
    assert set(re.findall(r"\bTrialbus[A-Z]\w+", section)) <= SECTIONS.keys()
    for query in re.findall(r"`(trialbus(?:_|:)[a-z_:0-9{}=\"]+)`", section):
        assert unknown(query) == [], query


def test_an_alert_names_its_runbook_and_tells_its_value() -> None:
    for alert in alerts():
        assert "$value" in alert.description, alert.name
        assert set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description)) <= {
            *groupings(alert.expr),
            *TARGET_LABELS,
        }, alert.name


def test_the_rules_in_the_wheel_are_all_of_them() -> None:
    packaged = yaml.safe_load(PACKAGED.read_text())["groups"]
    files = [yaml.safe_load(it.read_text()) for it in (PROMETHEUS / "rules").glob("*.yaml")]
    assert len(files) == len(FILES)
    assert sorted(it["name"] for it in packaged) == sorted(
        group["name"] for file in files for group in file["groups"]
    )


def test_every_file_is_current() -> None:
    old = [path.name for path, text in rule_files().items() if path.read_text() != text]
    assert old == [], "`make generate` makes them again"


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    files = [*(PROMETHEUS / "rules").glob("*.yaml")]
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "rules", "--lint=all", *files, PACKAGED],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    "file", sorted((PROMETHEUS / "tests").glob("*.yaml")), ids=lambda it: it.stem
)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
