"""What a rule is, and the case in which an alert fires or stays silent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# critical: somebody looks now; warning: somebody looks today.
Severity = Literal["critical", "warning"]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """series: each in promtool's notation -> its values, one a minute. minute: when it is looked
    at. firing: labels of each alert that fires then, without its name and severity; none: silent.
    """

    series: Mapping[str, str]
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
    """minutes: for how long the expression must hold. description: says the value. `labels` are
    more ones, beside the severity. The runbook has a section of its name."""

    name: str
    expr: str
    severity: Severity
    minutes: int
    summary: str
    description: str
    fires: tuple[Case, ...]
    silent: tuple[Case, ...]
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated one after the other, so that later ones see what earlier made."""

    name: str
    rules: tuple[Record | Alert, ...]


def services(values: str, *, of: str = "experiment") -> dict[str, str]:
    """The scrape of one service: `up`."""
    return {f'up{{job="trialbus",service="{of}",instance="a:1"}}': values}
