"""Trials in files: what is written is read again, and what another program wrote is understood."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from trialbus.cli.choices import FileFormat
from trialbus.cli.exporting import columns_of
from trialbus.cli.failures import CommandFailed
from trialbus.cli.imported_space import Scan
from trialbus.cli.trial_files import Column, format_of, reading, writing

COLUMNS = (
    Column(name="index", kind=int),
    Column(name="state", kind=str),
    Column(name="value", kind=float),
    Column(name="metrics.loss.min", kind=float),
    Column(name="parameters.lr", kind=float),
    Column(name="parameters.opt", kind=str),
)
ROWS = [
    {
        "index": 0,
        "state": "Succeeded",
        "value": 0.5,
        "metrics.loss.min": 0.25,
        "parameters.lr": 1e-05,
        "parameters.opt": 'a "b", c',
    },
    {
        "index": 1,
        "state": "Killed",
        "value": None,
        "metrics.loss.min": None,
        "parameters.lr": 0.1,
        "parameters.opt": "007",
    },
]


@pytest.mark.parametrize("form", list(FileFormat))
def test_what_is_written_is_read_again(form: FileFormat, tmp_path: Path) -> None:
    path = tmp_path / "trials"
    binary = form is FileFormat.PARQUET
    with path.open("wb" if binary else "w") as file, writing(file, form, COLUMNS) as write:
        write(ROWS[:1])
        write(ROWS[1:])
    with reading(str(path), form) as rows:
        found = [{name: it for name, it in row.items() if it is not None} for row in rows]
    assert found == [{name: it for name, it in row.items() if it is not None} for row in ROWS]


def test_parquet_knows_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "trials.parquet"
    with path.open("wb") as file, writing(file, FileFormat.PARQUET, COLUMNS) as write:
        write(ROWS)
    types = [str(field.type) for field in parquet.read_schema(path)]
    assert types == ["int64", "string", "double", "double", "double", "string"]


def test_json_lines_hold_no_nan_and_nest_what_belongs_together(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    with path.open("w") as file, writing(file, FileFormat.JSONL, COLUMNS) as write:
        write([{**ROWS[0], "value": float("nan")}])
    assert json.loads(path.read_text()) == {
        "index": 0,
        "state": "Succeeded",
        "value": "NaN",
        "metrics": {"loss": {"min": 0.25}},
        "parameters": {"lr": 1e-05, "opt": 'a "b", c'},
    }


def test_without_pyarrow_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        (tmp_path / "x").open("wb") as file,
        pytest.raises(CommandFailed, match=r"pip install 'trialbus\[parquet\]'"),
        writing(file, FileFormat.PARQUET, COLUMNS),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1\n", ":2: 1 cells for 2 columns"),
        ("a,a\n1,2\n", ":1: the first line must name each column once"),
    ],
)
def test_a_broken_line_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(CommandFailed, match=words), reading(str(path), FileFormat.CSV) as rows:
        list(rows)


def test_a_format_is_known_by_its_name() -> None:
    assert format_of("a.JSONL", None) is FileFormat.JSONL
    assert format_of("a.parquet", FileFormat.CSV) is FileFormat.CSV
    assert format_of("", None) is FileFormat.CSV


def test_columns_are_those_of_the_experiment() -> None:
    spec = {
        "objective": {"objectiveMetricName": "loss", "additionalMetricNames": ["acc"]},
        "parameters": [
            {"name": "n", "parameterType": "int"},
            {"name": "k", "parameterType": "discrete"},
        ],
    }
    found = {column.name: column.kind for column in columns_of({"spec": spec})}
    assert list(found)[-8:-2] == [
        f"metrics.{name}.{part}" for name in ("loss", "acc") for part in ("min", "max", "latest")
    ]
    assert (found["parameters.n"], found["parameters.k"]) == (int, str)


# What was searched -----------------------------------------------------------------------------


def scanned(*rows: dict[str, Any]) -> Scan:
    scan = Scan(objective="loss", own=("state", "value"))
    for number, row in enumerate(rows):
        scan.look(row, f"row {number}")
    return scan


def test_columns_of_another_program_are_parameters_but_for_the_objective() -> None:
    scan = scanned(
        {"lr": 0.1, "layers": 2, "opt": "adam", "loss": 0.5},
        {"lr": 1, "layers": 4, "opt": "sgd", "loss": 0.7},
    )
    assert scan.parameters() == [
        {
            "name": "lr",
            "parameterType": "double",
            "feasibleSpace": {"min": "0.1", "max": "1"},
        },
        {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "2", "max": "4"}},
        {
            "name": "opt",
            "parameterType": "categorical",
            "feasibleSpace": {"list": ["adam", "sgd"]},
        },
    ]
    assert scan.values == 2


def test_the_strategy_that_the_values_were_judged_by_is_found() -> None:
    def row(value: float, least: float, latest: float) -> dict[str, Any]:
        metrics = {
            "metrics.loss.min": least,
            "metrics.loss.latest": latest,
            "metrics.acc.latest": 1,
        }
        return {"parameters.x": value, "value": value, **metrics}

    objective = {"type": "minimize", "objectiveMetricName": "loss"}
    by_latest = scanned(row(0.5, 0.4, 0.5), row(0.7, 0.7, 0.7)).judged(objective)
    assert by_latest["metricStrategies"] == [{"name": "loss", "value": "latest"}]
    assert by_latest["additionalMetricNames"] == ["acc"]
    by_least = scanned(row(0.4, 0.4, 0.5)).judged(objective)
    assert "metricStrategies" not in by_least
    assert not scanned(row(0.1, 0.4, 0.5)).metrics_fit


def test_a_parameter_without_a_value_is_named_with_its_row() -> None:
    with pytest.raises(CommandFailed, match="row 1: lr has no value"):
        scanned({"lr": 0.1, "loss": 1}, {"lr": None, "loss": 1})
