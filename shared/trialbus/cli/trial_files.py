"""Trials in files: CSV, JSON Lines and Parquet, read and written row by row.

A row is flat: `index`, `trial`, ..., `metrics.<name>.<min|max|latest>`, `parameters.<name>`. JSON
Lines nest metrics and parameters. What is not known is empty or null.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trialbus.cli.choices import FileFormat
from trialbus.cli.failures import REFUSED, CommandFailed

Row = Mapping[str, Any]
Write = Callable[[Sequence[Row]], None]
PARAMETERS, METRICS = "parameters.", "metrics."
# Rows that are in memory at a time.
BATCH_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """kind: int, float or str, as values are stored where a file knows types."""

    name: str
    kind: type


def format_of(path: str, given: FileFormat | None) -> FileFormat:
    """By the ending of its name; CSV without a known one."""
    endings = {".jsonl": FileFormat.JSONL, ".ndjson": FileFormat.JSONL,
               ".parquet": FileFormat.PARQUET}  # fmt: skip
    return given or endings.get(Path(path).suffix.lower(), FileFormat.CSV)


@contextmanager
def writing(file: IO[Any], form: FileFormat, columns: Sequence[Column]) -> Iterator[Write]:
    """file: binary for Parquet, else text."""
    if form is FileFormat.PARQUET:
        with _writing_parquet(file, columns) as write:
            yield write
    elif form is FileFormat.JSONL:
        yield lambda rows: file.writelines(_line(row) for row in rows)
    else:
        table = csv.writer(file, lineterminator="\n")
        names = [column.name for column in columns]
        table.writerow(names)
        yield lambda rows: table.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _cell(value: Any) -> Any:
    return "" if value is None else value


def _line(row: Row) -> str:
    nested: dict[str, Any] = {"metrics": {}, "parameters": {}}
    for name, value in row.items():
        if name.startswith(PARAMETERS):
            nested["parameters"][name.removeprefix(PARAMETERS)] = value
        elif name.startswith(METRICS):
            metric, _, part = name.removeprefix(METRICS).rpartition(".")
            if value is not None:
                nested["metrics"].setdefault(metric, {})[part] = value
        else:
            nested[name] = value
    order = [*(name for name in nested if name not in ("metrics", "parameters")),
             "metrics", "parameters"]  # fmt: skip
    return json.dumps(_storable({name: nested[name] for name in order})) + "\n"


def _storable(value: Any) -> Any:
    """JSON has no NaN and no infinities: as elsewhere they are texts."""
    if isinstance(value, dict):
        return {name: _storable(inner) for name, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@contextmanager
def _writing_parquet(file: IO[bytes], columns: Sequence[Column]) -> Iterator[Write]:
    arrow, parquet = _arrow()
    types = {int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    with parquet.ParquetWriter(file, schema) as writer:

        def write(rows: Sequence[Row]) -> None:
            values = {
                column.name: [_typed(row.get(column.name), column.kind) for row in rows]
                for column in columns
            }
            writer.write_table(arrow.table(values, schema=schema))

        yield write


def _typed(value: Any, kind: type) -> Any:
    """None where a number is wanted and there is a text."""
    if value is None or isinstance(value, kind):
        return value
    if kind is str:
        return str(value)
    try:
        return kind(value)
    except ValueError:
        return None


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415 - large, and optional
        import pyarrow.parquet  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        message = "Parquet needs pyarrow: pip install 'trialbus[parquet]'"
        raise CommandFailed(message, REFUSED) from error
    return pyarrow, pyarrow.parquet


def reading(path: str, form: FileFormat) -> AbstractContextManager[Iterator[Row]]:
    """Its rows, flat, as they come. Raises CommandFailed with the line of what is wrong."""
    return _reading(path, form)


@contextmanager
def _reading(path: str, form: FileFormat) -> Iterator[Iterator[Row]]:
    try:
        if form is FileFormat.PARQUET:
            arrow, parquet = _arrow()
            with Path(path).open("rb") as binary:
                try:
                    yield _parquet_rows(parquet.ParquetFile(binary))
                except arrow.ArrowInvalid as error:
                    raise CommandFailed(f"{path} is no Parquet file: {error}", REFUSED) from error
            return
        with Path(path).open(encoding="utf-8", newline="") as file:
            yield _json_rows(path, file) if form is FileFormat.JSONL else _csv_rows(path, file)
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}", REFUSED) from error
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path} is no text in UTF-8: {error}", REFUSED) from error


def _parquet_rows(file: Any) -> Iterator[Row]:
    for batch in file.iter_batches(batch_size=BATCH_ROWS):
        yield from batch.to_pylist()


def _csv_rows(path: str, file: IO[str]) -> Iterator[Row]:
    table = csv.reader(file, strict=True)
    try:
        names = next(table, [])
        if len(set(names)) != len(names) or not names:
            raise CommandFailed(f"{path}:1: the first line must name each column once", REFUSED)
        for cells in table:
            if not cells:
                continue
            if len(cells) != len(names):
                where, count = f"{path}:{table.line_num}", len(cells)
                raise CommandFailed(f"{where}: {count} cells for {len(names)} columns", REFUSED)
            yield {name: _read(cell) for name, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        raise CommandFailed(f"{path}:{table.line_num}: {error}", REFUSED) from error


def _read(cell: str) -> int | float | str | None:
    """Of a cell that knows no type."""
    if not cell:
        return None
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        # 007 and 1_000 are texts, whatever Python takes them for.
        return value if cell[-1].isalnum() and "_" not in cell and not _padded(cell) else cell
    return cell


def _padded(cell: str) -> bool:
    digits = cell.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _json_rows(path: str, file: IO[str]) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise CommandFailed(f"{path}:{number}: no JSON: {error}", REFUSED) from error
        if not isinstance(found, dict):
            raise CommandFailed(f"{path}:{number}: must be an object", REFUSED)
        yield _flat(found)


def _flat(found: Mapping[str, Any]) -> Row:
    row: dict[str, Any] = {}
    for name, value in found.items():
        if name == "parameters" and isinstance(value, dict):
            row |= {PARAMETERS + key: inner for key, inner in value.items()}
        elif name == "metrics" and isinstance(value, dict):
            for metric, told in value.items():
                parts = told if isinstance(told, dict) else {"latest": told}
                row |= {f"{METRICS}{metric}.{part}": inner for part, inner in parts.items()}
        else:
            row[name] = value
    return row
