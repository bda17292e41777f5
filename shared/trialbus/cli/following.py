"""`trialbus logs` and `trialbus events`: what is there, and what comes."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.names import find_namespace

_ATTRIBUTES = "data:"


def print_log(api: Api, trial: str, *, follow: bool, tail: int | None) -> None:
    query = {"follow": "true" if follow else None, "tail": tail}
    for text in api.blocks(path_of("trials", trial, "log"), **query):
        sys.stdout.write(text)
        sys.stdout.flush()


def print_events(
    api: Api, name: str, namespace: str | None, *, follow: bool, as_json: bool
) -> None:
    place = find_namespace(api, name, namespace)
    path = experiment_path(place, name, "events")
    for line in api.lines(path, follow="true" if follow else None):
        if not line.startswith(_ATTRIBUTES):
            continue  # ids, comments that keep the connection, and blank lines between events
        event = json.loads(line.removeprefix(_ATTRIBUTES))
        sys.stdout.write(f"{json.dumps(event) if as_json else event_line(event)}\n")
        sys.stdout.flush()


def event_line(event: dict[str, Any]) -> str:
    """Time, what happened to what, and why."""
    data = event.get("data") or {}
    kind = str(event.get("type", "")).removeprefix("io.trialbus.").removesuffix(".v1")
    words = [str(event.get("time", "")), kind, " ".join(_trials(event, data))]
    words += [str(data.get("reason") or ""), str(data.get("message") or "")]
    return "  ".join(word for word in words if word)


def _trials(event: dict[str, Any], data: dict[str, Any]) -> Iterator[str]:
    """Those that it is about; an event of a service's group names its runs."""
    if event.get("subject") != event.get("experiment"):
        yield str(event.get("subject"))
    yield from (str(run["trial"]) for run in (data.get("data") or {}).get("runs") or ())
