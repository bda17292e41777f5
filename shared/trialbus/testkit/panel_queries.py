"""The queries of Grafana's dashboards, and what a query of Prometheus asks for."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser as promql

# As a Grafana would fill them in, that has just opened a dashboard of the last hour.
CHOSEN = {
    "installation": ".*",
    "service": ".*",
    "instance": ".*",
    "algorithm": ".*",
    "__rate_interval": "1m",
    "__range": "1h",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelQuery:
    """source: the variable with the data source. text: with Grafana's variables, as `$service`."""

    dashboard: str
    panel: str
    look: str
    unit: str
    source: str
    text: str
    legend: str
    instant: bool

    def filled(self, chosen: Mapping[str, str]) -> str:
        """With the values of the variables."""
        return filled(self.text, chosen)


def filled(text: str, chosen: Mapping[str, str]) -> str:
    """Raises KeyError for a variable without a value."""
    return re.sub(r"\$(\w+)", lambda found: chosen[found[1]], text)


def dashboards(folder: Path) -> dict[str, dict[str, Any]]:
    """File name -> dashboard."""
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def panel_queries(dashboard: Mapping[str, Any]) -> Iterator[PanelQuery]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield PanelQuery(
                dashboard=dashboard["uid"],
                panel=panel["title"],
                look=panel["type"],
                unit=panel["fieldConfig"]["defaults"]["unit"],
                source=target["datasource"]["uid"].strip("${}"),
                text=target["expr"],
                legend=target["legendFormat"],
                instant=bool(target.get("instant")),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A series that a query asks for. labels: that its selector names. within: functions around
    it, the innermost first."""

    name: str
    labels: frozenset[str]
    within: tuple[str, ...]


def asked_series(query: str) -> list[Asked]:
    """Raises ValueError for what is no query."""
    return list(_asked(promql.parse(query), ()))


def grouping_labels(query: str) -> set[str]:
    """All labels that the query sums up by."""
    return {label for by in re.findall(r"\bby \(([^)]*)\)", query) for label in by.split(", ")}


def _asked(expr: Any, within: tuple[str, ...]) -> Iterator[Asked]:
    match expr:
        case promql.VectorSelector():
            labels = frozenset(it.name for it in expr.matchers.matchers)
            yield Asked(name=expr.name or "", labels=labels, within=within)
        case promql.MatrixSelector():
            yield from _asked(expr.vector_selector, within)
        case promql.Call():
            for argument in expr.args:
                yield from _asked(argument, (expr.func.name, *within))
        case promql.AggregateExpr():
            yield from _asked(expr.expr, (str(expr.op).split()[-1], *within))
        case promql.BinaryExpr():
            yield from _asked(expr.lhs, within)
            yield from _asked(expr.rhs, within)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _asked(expr.expr, within)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise TypeError(f"an expression of an unknown kind: {expr}")
