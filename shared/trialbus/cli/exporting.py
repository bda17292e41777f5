"""`trialbus export`: an experiment's trials in a file, page by page."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trialbus.cli.api import PAGE_ITEMS, Api, experiment_path, path_of
from trialbus.cli.choices import FileFormat
from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.names import find_experiment
from trialbus.cli.trial_files import METRICS, PARAMETERS, Column, Row, format_of, writing

Object = Mapping[str, Any]
_KINDS = {"int": int, "double": float}
_PARTS = ("min", "max", "latest")
_FACTS = (
    Column(name="index", kind=int),
    Column(name="trial", kind=str),
    Column(name="state", kind=str),
    Column(name="attempt", kind=int),
    Column(name="startTime", kind=str),
    Column(name="completionTime", kind=str),
    Column(name="durationSeconds", kind=float),
    Column(name="value", kind=float),
)


def export(
    api: Api, name: str, *, namespace: str | None, form: FileFormat | None, output: str | None
) -> None:
    """To stdout without an output. A file is there as a whole or not at all."""
    place, name = find_experiment(api, name, namespace)
    experiment = api.get(experiment_path(place, name))
    chosen = format_of(output or "", form)
    columns = columns_of(experiment)
    with _opened(output, chosen) as file, writing(file, chosen, columns) as write:
        for rows in _pages(api, place, name, columns):
            write(rows)


def columns_of(experiment: Object) -> tuple[Column, ...]:
    spec = experiment["spec"]
    objective = spec["objective"]
    metrics = [objective["objectiveMetricName"], *(objective.get("additionalMetricNames") or ())]
    return (
        *_FACTS,
        *(Column(name=f"{METRICS}{it}.{part}", kind=float) for it in metrics for part in _PARTS),
        *(Column(name=PARAMETERS + it, kind=kind) for it, kind in _parameters(spec).items()),
    )


def _parameters(spec: Object) -> Mapping[str, type]:
    """Of an architecture search, what its template refers to."""
    if spec.get("parameters"):
        return {it["name"]: _KINDS.get(it["parameterType"], str) for it in spec["parameters"]}
    given = (spec.get("trialTemplate") or {}).get("trialParameters") or ()
    return {it["reference"]: str for it in given if not it["reference"].startswith("${")}


def _pages(api: Api, namespace: str, name: str, columns: tuple[Column, ...]) -> Iterator[list[Row]]:
    """Two views of each page: of the objects their metrics, of the table the rest."""
    after: str | None = None
    kinds = {column.name: column.kind for column in columns}
    while True:
        page: dict[str, str | int | None] = {
            "namespace": namespace,
            "experiment": name,
            "limit": PAGE_ITEMS,
            "after": after,
        }
        table = api.get(path_of("trials"), view="table", **page)
        objects = api.get(path_of("trials"), **page)
        seen = {it["metadata"]["name"]: _metrics(it) for it in objects["items"]}
        yield [_row(it, seen.get(it["trial"], {}), kinds) for it in table["items"]]
        after = table.get("next")
        if not after:
            return


def _row(told: Object, metrics: Mapping[str, Any], kinds: Mapping[str, type]) -> Row:
    parameters = {
        PARAMETERS + name: _number(value, kinds.get(PARAMETERS + name, str))
        for name, value in told["parameters"].items()
    }
    facts = {column.name: told.get(column.name) for column in _FACTS}
    facts["value"] = _number(facts["value"], float)
    return {**facts, **metrics, **parameters}


def _metrics(trial: Object) -> Mapping[str, Any]:
    found = trial.get("status", {}).get("observation", {}).get("metrics") or ()
    return {
        f"{METRICS}{it['name']}.{part}": _number(it[part], float)
        for it in found
        for part in _PARTS
        if it[part] != "unavailable"
    }


def _number(value: Any, kind: type) -> Any:
    """The text itself where it is no number."""
    if kind is str or value is None:
        return value
    try:
        return kind(value)
    except ValueError:
        return value


@contextmanager
def _opened(output: str | None, form: FileFormat) -> Iterator[IO[Any]]:
    if output is None:
        if form is FileFormat.PARQUET:
            raise CommandFailed("Parquet is written to a file: give -o FILE", REFUSED)
        yield sys.stdout
        return
    path = Path(output)
    partial = path.with_name(f".{path.name}.partial")
    try:
        binary = form is FileFormat.PARQUET
        with partial.open("wb") if binary else partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise CommandFailed(f"cannot write {output}: {error.strerror}", REFUSED) from error
    finally:
        partial.unlink(missing_ok=True)
