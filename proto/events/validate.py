"""Holds events to their contracts: `trialbus events NAME --json | python proto/events/validate.py`.

Reads structured CloudEvents, one JSON object a line, and prints what each breaks. Stricter than a
reader has to be: a field that the contract does not name is a problem too: then the contract is
old. Exit code 1 if there is any problem.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parent


def problems(event: Mapping[str, Any]) -> Iterator[str]:
    """What `event` breaks of the contract of its type."""
    kind = str(event.get("type", ""))
    path = FOLDER / f"{kind.removeprefix('io.trialbus.').removesuffix('.v1')}.json"
    if not path.is_file():
        yield f"no contract for the type {kind!r}"
        return
    contract = read(path)
    if event.get("source") != f"/trialbus/{contract['producer']}":
        yield f"{kind}: source is {event.get('source')!r}, its producer is {contract['producer']}"
    about_experiment = event.get("subject") == event.get("experiment")
    if about_experiment != (contract["about"] == "experiment"):
        yield f"{kind}: subject {event.get('subject')!r} is no {contract['about']}"
    body = event.get("data")
    if len(json.dumps(body).encode()) > contract["max_body_bytes"]:
        yield f"{kind}: more than {contract['max_body_bytes']} bytes"
    for error in Draft202012Validator(closed(contract["schema"])).iter_errors(body):
        yield f"{kind}: {error.json_path}: {error.message}"


@cache
def read(path: Path) -> Mapping[str, Any]:
    """One contract."""
    contract: Mapping[str, Any] = json.loads(path.read_text())
    return contract


def closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    return inner


def main() -> int:
    found = [
        problem for line in sys.stdin if line.strip() for problem in problems(json.loads(line))
    ]
    for problem in found:
        sys.stdout.write(f"{problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
