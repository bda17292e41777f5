"""What a rule is, and the case in which an alert fires or stays silent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# critical: somebody looks now; warning: somebody looks today.
Severity = Literal["critical", "warning"]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """series: each with its values, one a minute, in promtool's notation. minute: when it is looked
    at. firing: labels of each alert that fires then, beyond its own; none: it is silent."""

    series: Labels
    minute: int
    firing: tuple[Labels, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """name: `trialbus:what:how`."""

    name: str
    expr: str
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """name: one section of the runbook has it. minutes: for how long the expression must hold.
    description: says the value. labels: its own, beside the severity."""

    name: str
    expr: str
    severity: Severity
    minutes: int
    summary: str
    description: str
    cases: tuple[Case, ...]
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules of one group are evaluated in their order: later ones see what earlier ones made.
    interval: how often; empty: as Prometheus evaluates all others. Long windows need it rarely."""

    name: str
    rules: tuple[Record | Alert, ...]
    interval: str = ""


def held(gauge: str, by: str) -> str:
    """PromQL of what every replica tells of the whole system; while none does (it hangs, is gone,
    or has no store) of what was told last, for 15 minutes: TrialbusServiceDown has long said so by
    then. Else an alert would begin anew with each such gap, and what stands still look well."""
    return f"(max by ({by}) ({gauge}) or max by ({by}) (last_over_time({gauge}[15m])))"


def fires(series: Labels, minute: int, *firing: Labels) -> Case:
    """Without `firing`: one alert with no labels but its own."""
    return Case(series=series, minute=minute, firing=firing or ({},))


def silent(series: Labels, minute: int) -> Case:
    return Case(series=series, minute=minute)
