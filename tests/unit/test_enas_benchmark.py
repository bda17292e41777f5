"""The benchmark of ENAS: its table is that of the example, its page what the runs show."""

import json
from pathlib import Path

from loadtests.quality.architecture_report import Run, write_report
from loadtests.quality.architectures import EXAMPLE, RESULTS, Example, search, trained

from trialbus_suggestion.core.enas_architectures import ArchitectureSpace


def test_the_table_holds_every_architecture_of_the_example() -> None:
    space = ArchitectureSpace.of(Example.read(EXAMPLE).nas)
    wanted = {space.texts(space.at(i))["architecture"] for i in range(space.cardinality())}
    lines = RESULTS.read_text().splitlines()
    assert len(lines) == len(wanted) == 1000
    assert {json.loads(line)[0] for line in lines} == wanted


def test_a_search_repeats() -> None:
    example = Example.read(EXAMPLE)
    table = trained(example, RESULTS)
    first, again = (search(example, table, 3, trials=12) for _ in range(2))
    assert first.accuracies == again.accuracies
    assert len(first.accuracies) == 12


def test_the_page_is_made_of_the_runs(tmp_path: Path) -> None:
    """The best of both at equal seconds: after one of enas' trials, which take two seconds each."""
    enas = [Run(accuracies=(0.5, 0.8) * 5, cpu_s=(1.5,) * 10, own_s=5.0)] * 2
    random = [Run(accuracies=(0.4, 0.6) * 10, cpu_s=(1.0,) * 20, own_s=0.0)] * 2
    assert enas[0].best_by(2.0) == 0.5
    assert enas[0].best_by(4.0) == 0.8
    assert enas[0].best_by(1.0) == 0.0
    write_report(tmp_path / "enas.md", [0.9, 0.8, 0.1], enas, random)
    page = (tmp_path / "enas.md").read_text()
    assert "| 10 | 0.8000 | 0.6000 | +0.2000 (+0.2000 to +0.2000) | 2 | 0.650 | 0.500 |" in page
    assert "| 20 | 0.8000 | 0.6000 | +0.2000 (+0.2000 to +0.2000) |" in page
    assert {it.name for it in tmp_path.iterdir()} == {
        "enas.md",
        "enas-trials.svg",
        "enas-seconds.svg",
    }
