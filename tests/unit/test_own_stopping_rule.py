"""A stopping rule of a user's own, as docs/how-to/add-a-stopping-rule.md has it."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from trialbus.kernel.catalogue import Catalogue, StoppingRuleDescription, check_settings
from trialbus.kernel.objective import ObjectiveType
from trialbus.runtime import catalogue
from trialbus_early_stopping.core.decide import decide
from trialbus_early_stopping.core.evidence import Report, TrialEvidence, Verdict
from trialbus_early_stopping.core.registry import Registry

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/add-a-stopping-rule.md"


def block(language: str) -> str:
    [found] = re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE.read_text(), re.M | re.S)
    return dedent(found)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """What is found when a package has the page's lines in its files."""
    (tmp_path / "my_rules.py").write_text(block("python"))
    monkeypatch.syspath_prepend(tmp_path)
    said = tomllib.loads(block("toml"))["project"]["entry-points"]
    entries = {
        group: [EntryPoint(name, value, group) for name, value in lines.items()]
        for group, lines in said.items()
    }
    monkeypatch.setattr(catalogue, "entry_points", lambda group: entries.get(group, []))
    yield catalogue.load_catalogue()
    sys.modules.pop("my_rules", None)


def verdict_of(rules: Registry, *values: float) -> Verdict | None:
    said = yaml.safe_load(block("yaml"))["earlyStopping"]
    given = [(each["name"], each["value"]) for each in said["algorithmSettings"]]
    assert check_settings(rules.describe(said["algorithmName"]), given) == []
    rule = rules.create(said["algorithmName"], given, ObjectiveType.MAXIMIZE)
    reports = [Report(step, value) for step, value in enumerate(values, start=1)]
    return decide(rule, TrialEvidence(trial="t", attempt=1), reports).verdict


def test_the_rule_of_the_page_judges_like_a_built_in_one(installed: Catalogue) -> None:
    rules = Registry(installed.stopping_rules.values())
    going_on = verdict_of(rules, 3.0, 2.5)
    assert going_on is not None
    assert not going_on.stop
    stopped = verdict_of(rules, 3.0, 2.25, 9.0)
    assert stopped is not None
    assert (stopped.stop, stopped.step) == (True, 2)
    assert stopped.reason == "objective is 0.75 away from its best at step 2"
    assert stopped.evidence.numbers == {"away": 0.75, "distance": 0.5}
    assert stopped.evidence.best == 3.0


def test_its_settings_are_checked_like_others(installed: Catalogue) -> None:
    [description] = installed.stopping_rules.values()
    assert isinstance(description, StoppingRuleDescription)
    [problem] = check_settings(description, [("distance", "0")])
    assert problem.message == "distance must be greater than zero (>0)"
