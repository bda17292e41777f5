"""The generated pages are current and complete."""

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from making.page_parts import BEGIN, END, between_marks
from trialbus.contracts.collections import COLLECTIONS
from trialbus.kernel import limits
from trialbus.kernel.events import EVENT_TYPES
from trialbus.runtime.settings import Settings
from trialbus.runtime.telemetry import Telemetry
from trialbus_early_stopping.core.catalogue import BUILT_IN as STOPPING_RULES
from trialbus_experiment.core.states import TRANSITIONS
from trialbus_suggestion.core.catalogue import BUILT_IN as ALGORITHMS

VARIABLE = re.compile(r"\"(TRIALBUS_[A-Z]+(?:_[A-Z]+)*)\"")
# Streams are named like variables.
STREAMS = {"TRIALBUS_EVENTS", "TRIALBUS_DEAD_LETTERS"}


@pytest.fixture(scope="module")
def generate(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", repository / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(repository: Path) -> Mapping[str, str]:
    return {page.stem: page.read_text() for page in (repository / "docs/reference").glob("*.md")}


def undocumented_variables(text: str, pages: str) -> set[str]:
    """Environment variables that code names and no page tells of."""
    return {name for name in VARIABLE.findall(text) if f"`{name}`" not in pages} - STREAMS


def test_generated_files_are_current(generate: ModuleType) -> None:
    old = [path.name for path, text in generate.generated().items() if path.read_text() != text]
    assert old == [], "`make generate` makes them again"


def test_a_changed_page_is_found(generate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SWEEP_INTERVAL_S", 7.0)
    page = generate.REFERENCE / "limits.md"
    assert generate.generated()[page] != page.read_text()


def test_every_setting_is_documented(reference: Mapping[str, str]) -> None:
    page = reference["settings"]
    assert [
        name for name in Settings.model_fields if f"`TRIALBUS_{name.upper()}`" not in page
    ] == []


def test_every_event_is_documented(reference: Mapping[str, str]) -> None:
    headings = set(re.findall(r"^## (\S+\.\S+)$", reference["events"], re.M))
    assert headings == set(EVENT_TYPES)


def test_every_algorithm_and_stopping_rule_has_its_page(repository: Path) -> None:
    """What it is, when to use it, settings, sources."""
    pages = {
        "algorithms": [it.name for it in ALGORITHMS],
        "stopping-rules": [it.name for it in STOPPING_RULES],
    }
    problems = []
    for folder, names in pages.items():
        for name in names:
            page = repository / "docs" / folder / f"{name}.md"
            text = page.read_text() if page.exists() else ""
            headings = ("# ", "## When to use it", "## Settings", "## Sources")
            problems += [f"{page.name}: {it}" for it in headings if f"\n{it}" not in f"\n{text}"]
    assert problems == []


def test_every_metric_is_documented(reference: Mapping[str, str]) -> None:
    metrics = [metric.name for metric in Telemetry("docs").registry.collect()]
    assert len(metrics) >= 8
    assert [name for name in metrics if f"`{name}" not in reference["metrics"]] == []


def test_every_limit_is_documented_with_its_reason(reference: Mapping[str, str]) -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| .+ \| .{10,} \|$", reference["limits"], re.M)
    assert rows == [name for name in vars(limits) if name.isupper()]


def test_every_collection_is_documented(reference: Mapping[str, str]) -> None:
    headings = re.findall(r"^## (\S+)$", reference["collections"], re.M)
    assert headings == [spec.name for spec in COLLECTIONS]


def test_every_change_of_phase_is_in_the_diagram(repository: Path) -> None:
    page = (repository / "docs/explanation/experiment-life-cycle.md").read_text()
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (.+)$", page, re.M))
    assert drawn == {
        (phase.value, after.value, happening.value)
        for phase, changes in TRANSITIONS.items()
        for happening, after in changes.items()
    }


def test_every_environment_variable_is_documented(
    repository: Path, reference: Mapping[str, str], python_sources: Mapping[str, str]
) -> None:
    told = ("docs/how-to/write-a-trial.md", "docs/explanation/wrapper.md")
    pages = reference["settings"] + "".join((repository / path).read_text() for path in told)
    problems = [
        f"{path}: {name}"
        for path, text in python_sources.items()
        if path.startswith(("shared/", "services/")) and "/testkit/" not in path
        for name in undocumented_variables(text, pages)
    ]
    assert problems == []


def test_an_undocumented_variable_is_found() -> None:
    assert undocumented_variables('os.environ["TRIALBUS_SECRET"]', "`TRIALBUS_SECRETS`")
    assert not undocumented_variables('stream = "TRIALBUS_EVENTS"', "")


def test_a_limit_without_a_reason_is_found(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(generate.limit_comments("# Heading ------\n# Why.\nA_S = 1\n\nB_S = 2\n"))
    assert found == [("Heading", "", ""), ("", "A_S", "Why."), ("", "B_S", "")]
    monkeypatch.setattr(generate.inspect, "getsource", lambda _: "MAX_PAGE_ITEMS = 500\n")
    with pytest.raises(ValueError, match="does not say why"):
        generate.limits_page({})


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("A_S", 0.2, "0.2 s"),
        ("A_S", 86400.0, "24 h"),
        ("A_S", 7 * 86400.0, "7 days"),
        ("A_BYTES", 65536, "64 KiB"),
        ("A_BYTES", 131071, "131,071 bytes"),
        ("A_ITEMS", 4096, "4,096"),
    ],
)
def test_limits_are_shown_with_their_units(
    generate: ModuleType, name: str, value: float, shown: str
) -> None:
    assert generate.with_unit(name, value) == shown


def test_a_page_that_lost_its_marks_is_refused(generate: ModuleType) -> None:
    page = f"a\n{BEGIN}old\n{END}b\n"
    assert between_marks(page, "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="marks"):
        between_marks("a\nb\n", "new\n")
