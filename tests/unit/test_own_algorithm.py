"""An algorithm of a user's own: examples/own-algorithm, as its how-to has it."""

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
import yaml

from trialbus.kernel.catalogue import Catalogue, check_settings
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.runtime import catalogue
from trialbus.testkit.algorithm_runs import Run, Subject
from trialbus_suggestion.core.registry import Registry

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "examples/own-algorithm"
PAGE = REPOSITORY / "docs/how-to/add-an-algorithm.md"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """What is found when the package of the example is installed."""
    monkeypatch.syspath_prepend(FOLDER)
    said = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["entry-points"]
    entries = {
        group: [EntryPoint(name, value, group) for name, value in lines.items()]
        for group, lines in said.items()
    }
    monkeypatch.setattr(catalogue, "entry_points", lambda group: entries.get(group, []))
    yield catalogue.load_catalogue()
    sys.modules.pop("hill_climbing", None)


@pytest.fixture
def its_tests(installed: Catalogue) -> ModuleType:
    spec = importlib.util.spec_from_file_location("own", FOLDER / "test_hill_climbing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings_of_the_page() -> tuple[tuple[str, str], ...]:
    [found] = re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE.read_text(), re.M | re.S)
    said = yaml.safe_load(found)["algorithm"]
    assert said["algorithmName"] == "hill-climbing"
    return tuple((each["name"], each["value"]) for each in said["algorithmSettings"])


def test_it_is_found_and_climbs(installed: Catalogue) -> None:
    [description] = installed.algorithms.values()
    settings = settings_of_the_page()
    assert check_settings(description, settings) == []
    [problem] = check_settings(description, [("width", "0")])
    assert problem.message == "width must be above 0, and 1 at most"
    study = Study(
        parameters=(Parameter(name="x", type="double", min="0", max="1"),),
        objective=ObjectiveType.MINIMIZE,
        algorithm=AlgorithmSpec(name=description.name, settings=settings),
    )
    first = Registry([description]).create(study)
    request = ProposalRequest(number=1, first=0, count=2, watermark=0, seed=1)
    assert len(first.propose(request, Random(1)).points) == 2
    run = Run(Subject(description=description), study)
    run.rounds(30, 2)
    early, late = run.finished[:5], run.finished[-5:]
    assert min(it.value or 0 for it in late) < min(it.value or 0 for it in early) + 1e-9
    assert min(it.value or 0 for it in run.finished) < 0.02


def test_its_suite_holds_it_to_the_contract(its_tests: ModuleType) -> None:
    """The whole suite is for its author; here: that it is the suite, and a law of it."""
    suite = its_tests.TestHillClimbing()
    assert len([name for name in dir(suite) if name.startswith("test_")]) > 10
    suite.test_a_restart_in_the_middle_gives_the_same_continuation()
    suite.test_the_order_in_which_trials_end_makes_no_difference()
