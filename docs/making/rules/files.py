"""The generated files of deploy/prometheus, of the package and of the pages -> their texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from making.page_parts import between_marks, table
from making.rules.burning import BURNINGS, promise_alerts, promise_records
from making.rules.groups import GROUPS
from making.rules.promises import PROMISES
from making.rules.recording import HOPS, SATURATION, WORK
from making.rules.rule import Alert, Case, Group, Record
from making.rules.series import selector

REPOSITORY = Path(__file__).resolve().parents[3]
PROMETHEUS = REPOSITORY / "deploy/prometheus"
# For `trialbus up --observe`, out of the wheel; all rules in one file.
PACKAGED = REPOSITORY / "shared/trialbus/local/observing/rules.yaml"
# A chart takes files from its own folder only.
CHART = REPOSITORY / "deploy/helm/trialbus/files/rules.yaml"
PROMISED = REPOSITORY / "docs/operations/promises.md"
# In front of an alert's anchor; the chart has a value for an address that a browser can open.
RUNBOOK = "docs/operations/runbook.md"
# What alerts read, but for those of the promises.
_RECORDED = "work.yaml"
# Rule file -> its groups.
FILES: dict[str, tuple[Group, ...]] = {
    "hops.yaml": (HOPS,),
    _RECORDED: (WORK, SATURATION),
    **{f"{group.name.removeprefix('trialbus-')}.yaml": (group,) for group in GROUPS},
    "promises.yaml": (promise_records(), promise_alerts()),
}
_NOTE = "# Made by docs/generate.py; `make generate` makes it again.\n"


def alerts() -> Iterator[Alert]:
    for groups in FILES.values():
        for group in groups:
            yield from (rule for rule in group.rules if isinstance(rule, Alert))


def rule_files() -> dict[Path, str]:
    files: dict[Path, str] = {}
    for name, groups in FILES.items():
        files[PROMETHEUS / "rules" / name] = _rules(groups)
    every = _rules(tuple(group for groups in FILES.values() for group in groups))
    files |= dict.fromkeys((PACKAGED, CHART), every)
    return files | test_files() | {PROMISED: between_marks(PROMISED.read_text(), _promises())}


def _promises() -> str:
    rows = [
        [
            f"`{it.name}`",
            it.told,
            f"`{it.metric}`",
            it.source,
            f"[{it.alert}](runbook.md#{it.alert.lower()})",
            f"{it.least}",
        ]
        for it in PROMISES
    ]
    return table(["name", "promise", "metric", "from", "alert", "least events"], rows)


def test_files() -> dict[Path, str]:
    """For `promtool test rules`. What fires is read from the series ALERTS: so the tests say which
    alerts there are, and not their sentences once more."""
    files = {}
    for name, groups in FILES.items():
        found = [it for group in groups for it in group.rules if isinstance(it, Alert)]
        if found and groups[0] in GROUPS:
            tests = [_test([(alert, case)]) for alert in found for case in alert.cases]
            # Rarely, where they last for hours.
            every = "10m" if min(it.minutes for it in found) >= 60 else "1m"
            files[name] = _tests(tests, _RECORDED, name, every=every)
    for burning in BURNINGS:
        found = [it for it in alerts() if it.labels.get("long") == burning.long]
        # All promises at once: they look at different series.
        cases = zip(*(it.cases for it in found), strict=True)
        tests = [_test([*zip(found, each, strict=True)]) for each in cases]
        every = f"{burning.pace_min}m"
        files[f"promises-{burning.long}.yaml"] = _tests(tests, "promises.yaml", every=every)
    return {PROMETHEUS / "tests" / name: text for name, text in files.items()}


def _rules(groups: Sequence[Group]) -> str:
    return _NOTE + _yaml({"groups": [_group(group) for group in groups]})


def _group(group: Group) -> dict[str, Any]:
    pace = {"interval": group.interval} if group.interval else {}
    return {"name": group.name, **pace, "rules": [_rule(rule) for rule in group.rules]}


def _rule(rule: Record | Alert) -> dict[str, Any]:
    if isinstance(rule, Record):
        labels = {"labels": dict(rule.labels)} if rule.labels else {}
        return {"record": rule.name, "expr": rule.expr, **labels}
    return {
        "alert": rule.name,
        "expr": rule.expr,
        "for": f"{rule.minutes}m",
        "labels": {"severity": rule.severity, **rule.labels},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": f"{RUNBOOK}#{rule.name.lower()}",
        },
    }


def _tests(tests: list[dict[str, Any]], *rules: str, every: str) -> str:
    head = {
        "rule_files": [f"../rules/{name}" for name in rules],
        "evaluation_interval": every,
        # Else promtool takes any order, and alerts may see what was recorded a round before.
        "group_eval_order": [group.name for name in rules for group in FILES[name]],
    }
    return _NOTE + _yaml({**head, "tests": tests})


def _test(cases: Sequence[tuple[Alert, Case]]) -> dict[str, Any]:
    series = {name: values for _, case in cases for name, values in case.series.items()}
    names = ", ".join(dict.fromkeys(alert.name for alert, _ in cases))
    first = cases[0][1]
    return {
        "name": f"{names}: {'fires' if first.firing else 'silent'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [_expected(alert, case) for alert, case in cases],
    }


def _expected(alert: Alert, case: Case) -> dict[str, Any]:
    own = {"alertname": alert.name, "severity": alert.severity, **alert.labels}
    own |= {"alertstate": "firing"}
    return {
        "expr": selector("ALERTS", own),
        "eval_time": f"{case.minute}m",
        "exp_samples": [
            {"labels": selector("ALERTS", {**own, **labels}), "value": 1} for labels in case.firing
        ],
    }


def _yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True))
