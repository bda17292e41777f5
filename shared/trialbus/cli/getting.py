"""`trialbus get`, `explain` and `delete`, `suspend`, `resume`."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from trialbus.cli import tables
from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.choices import Format, Kind
from trialbus.cli.failures import NotFound
from trialbus.cli.names import check_place, find_experiment, looks_like_a_trial, split_name
from trialbus.cli.progress import FINISHED
from trialbus.cli.tables import Column

Object = dict[str, Any]
API_VERSION = "kubeflow.org/v1beta1"


_COLUMNS: Mapping[Kind, Sequence[Column]] = {
    Kind.EXPERIMENTS: tables.EXPERIMENTS,
    Kind.TRIALS: tables.TRIALS,
    Kind.SUGGESTIONS: tables.SUGGESTIONS,
}


def get(
    api: Api,
    kind: Kind,
    name: str | None,
    *,
    namespace: str | None,
    experiment: str | None,
    form: Format,
    deleted: bool = False,
    uid: str | None = None,
) -> None:
    """deleted: experiments whose history was kept. uid: of the experiment of the trials."""
    if name is not None:
        one = _one(api, kind, name, namespace)
        _show(kind, one, [one], form)
        return
    if deleted:
        found = list(api.items(path_of("experiments"), namespace=namespace, deleted="true"))
    elif uid is not None:
        found = list(api.items(path_of("trials"), uid=uid))
    else:
        found = list(_all(api, kind, namespace, experiment))
    whole = {"apiVersion": API_VERSION, "kind": f"{kind.capitalize()[:-1]}List", "items": found}
    _show(kind, whole, found, form)


def _one(api: Api, kind: Kind, name: str, namespace: str | None) -> Object:
    found: Object
    match kind:
        case Kind.TRIALS:
            place, name = split_name(name, namespace)
            found = api.get(path_of("trials", name))
            check_place(name, found["metadata"]["namespace"], place)
        case Kind.EXPERIMENTS:
            found = api.get(experiment_path(*find_experiment(api, name, namespace)))
        case Kind.SUGGESTIONS:
            found = api.get(experiment_path(*find_experiment(api, name, namespace), "suggestion"))
    return found


def _all(api: Api, kind: Kind, namespace: str | None, experiment: str | None) -> Iterator[Object]:
    match kind:
        case Kind.TRIALS:
            place = namespace
            if experiment is not None:
                place, experiment = find_experiment(api, experiment, namespace)
            return api.items(path_of("trials"), namespace=place, experiment=experiment)
        case Kind.EXPERIMENTS:
            return api.items(path_of("experiments"), namespace=namespace)
        case Kind.SUGGESTIONS:
            return api.items(path_of("suggestions"), namespace=namespace)


def _show(kind: Kind, whole: Object, found: Sequence[Object], form: Format) -> None:
    match form:
        case Format.JSON:
            text = json.dumps(whole, indent=2)
        case Format.YAML:
            import yaml  # noqa: PLC0415 - only where it is asked for

            text = yaml.safe_dump(whole, sort_keys=False).rstrip()
        case Format.TABLE | Format.WIDE:
            if not found:
                sys.stderr.write(f"there are no {kind.value}\n")
                return
            text = "\n".join(tables.table(_COLUMNS[kind], found, wide=form is Format.WIDE))
    sys.stdout.write(f"{text}\n")


def explain(api: Api, name: str, *, namespace: str | None, as_json: bool) -> None:
    story = _story(api, name, namespace)
    text = json.dumps(story, indent=2) if as_json else "\n".join(story_lines(story))
    sys.stdout.write(f"{text}\n")


def _story(api: Api, written: str, given: str | None) -> Object:
    """Of the trial or the experiment of this name, whichever there is."""
    namespace, name = split_name(written, given)

    def of_trial() -> Object:
        found: Object = api.get(path_of("trials", name, "explain"))
        place, _, _ = str(found["subject"]).removeprefix("trial ").partition("/")
        check_place(name, place, namespace)
        return found

    def of_experiment() -> Object:
        place, _ = find_experiment(api, name, namespace)
        found: Object = api.get(experiment_path(place, name, "explain"))
        return found

    questions = [of_experiment, of_trial]
    if looks_like_a_trial(name):
        questions.reverse()
    for question in questions:
        with suppress(NotFound):
            return question()
    where = "" if namespace is None else f" in the namespace {namespace}"
    raise NotFound(f"there is no experiment or trial called {name}{where}")


_TOLD = {"subject", "uid", "state", "reason", "message", "chain", "logTail"}


def story_lines(story: Mapping[str, Any]) -> Iterator[str]:
    """The state, why, the steps in order of time, and what the log ends with."""
    why = f" ({story['reason']})" if story.get("reason") else ""
    yield f"{story['subject']}: {story['state']}{why}"
    if story.get("message"):
        yield str(story["message"])
    steps = [
        [str(step.get(part) or "") for part in ("at", "event", "reason", "message")]
        for step in story.get("chain") or ()
    ]
    if steps:
        yield ""
        yield from tables.aligned(steps)
    more = [(name, value) for name, value in story.items() if name not in _TOLD and value]
    for name, value in more:
        yield f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
    if story.get("logTail"):
        yield ""
        yield "The log ends with:"
        yield from (f"  {line}" for line in str(story["logTail"]).splitlines())


def delete(api: Api, name: str, *, namespace: str | None, keep_history: bool) -> str:
    """Says what was done."""
    place, name = find_experiment(api, name, namespace)
    query = "?keepHistory=true" if keep_history else ""
    api.call("DELETE", f"{experiment_path(place, name)}{query}")
    kept = "; its history stays readable" if keep_history else ""
    return f"{place}/{name} is being deleted{kept}"


def command(api: Api, name: str, verb: str, done: str, *, namespace: str | None) -> str:
    """Suspend or resume; says what was done."""
    place, name = find_experiment(api, name, namespace)
    state = tables.state_of(api.get(experiment_path(place, name)))
    api.call("POST", experiment_path(place, name, verb))
    if state in FINISHED:
        return f"{place}/{name} has ended ({state}): there is nothing to {verb}"
    return f"{place}/{name} {done}"
