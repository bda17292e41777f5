"""`tune` around its stack: the table, the line, where functions run."""

import csv
import io
import math
import multiprocessing
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import trialbus
from trialbus.client.progress_line import ProgressLine, progress_line, progress_text
from trialbus.client.results import tuned_trial
from trialbus.client.space import Described
from trialbus.client.tuning_work import (
    check_that_main_may_be_loaded_again,
    why_not_in_processes,
)
from trialbus.contracts.progress import BestTrial

SPACE = Described({"x": [None, 2], "loss": trialbus.uniform(0, 1)})


def trial(name: str, x: str, loss: float) -> trialbus.Trial:
    return trialbus.Trial(
        name=name,
        state="Succeeded",
        reason="",
        message="",
        parameters={"x": x, "loss": 0.5},
        metrics={"loss": trialbus.Observed(min=loss, max=9.0, latest=loss + 1)},
        started=datetime(2026, 11, 22, 5, 0, tzinfo=UTC),
        ended=datetime(2026, 11, 22, 5, 0, 3, tzinfo=UTC),
    )


def result() -> trialbus.Result:
    rows = tuple(
        tuned_trial(number, each, SPACE, "loss", smallest=True)
        for number, each in enumerate([trial("a", "None", 0.25), trial("b", "2", 0.5)])
    )
    return trialbus.Result(
        parameters=rows[0].parameters, value=0.25, trial="a", trials=rows, name="t"
    )


def test_the_table_has_a_row_for_each_trial_and_no_two_columns_of_one_name() -> None:
    first, second = result().rows()
    assert first == {
        "number": 0,
        "name": "a",
        "state": "Succeeded",
        "value": 0.25,
        "seconds": 3.0,
        "x": None,
        "loss": 0.5,
        "metric loss": 1.25,
    }
    assert second["number"] == 1


def test_the_table_is_written_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    text = result().to_csv(path)
    assert path.read_text() == text
    read = list(csv.DictReader(io.StringIO(text)))
    assert [row["value"] for row in read] == ["0.25", "0.5"]


def test_a_trial_without_the_objective_has_no_value() -> None:
    bare = trialbus.Trial(
        name="a",
        state="Failed",
        reason="",
        message="",
        parameters={},
        metrics={},
        started=None,
        ended=None,
    )
    row = tuned_trial(0, bare, SPACE, "loss", smallest=True)
    assert math.isnan(row.value)
    assert row.seconds is None


def progress(done: int, most: int | None) -> trialbus.Progress:
    best = BestTrial(trial="a", value=0.125, parameters={}, command=None, working_dir=None)
    return trialbus.Progress(
        namespace="default",
        name="t",
        phase="Running",
        reason="",
        message="",
        parallel=1,
        max_trials=most,
        goal=None,
        metric="loss",
        trials={"created": done + 1, "running": 1, "succeeded": done - 1, "failed": 1},
        best=best,
    )


def test_the_line_tells_how_far_it_is() -> None:
    text = progress_text(progress(5, 20), 60.0)
    assert text == "[######                  ] 5/20  loss=0.125  1 failed  1:00, about 3:00 left"
    assert progress_text(progress(5, None), 3700) == "5 trials  loss=0.125  1 failed  1:01:40"


def test_a_line_covers_what_was_longer_before() -> None:
    out = io.StringIO()
    line = ProgressLine(out)
    line.say("long text")
    line.say("short")
    line.say("short")
    line.close()
    assert out.getvalue() == "\rlong text\rshort    \n"


def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not progress_line(True).is_shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert progress_line(True).is_shown
    assert not progress_line(False).is_shown


def test_what_no_other_process_could_load_is_told() -> None:
    assert why_not_in_processes(math.sqrt) is None
    told = why_not_in_processes(lambda x: x)
    assert told is not None
    assert "cannot be sent" in told


def test_a_main_module_without_its_guard_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_that_main_may_be_loaded_again()
    process = multiprocessing.current_process()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match="__main__"):
        trialbus.tune(math.sqrt, {"x": [1, 2]})


def test_what_is_asked_for_wrongly_is_told_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="either"):
        trialbus.tune(math.sqrt, {"x": [1]}, minimize="a", maximize="b")
    with pytest.raises(TypeError, match="by name"):
        trialbus.tune(lambda a, b: a + b, {"x": [1]})
