"""Every question and command of the client, as conversations that know no sockets."""

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trialbus.client.calls import Answer, BusWord, Call, Flow, Pause, good
from trialbus.client.failures import Refused, TimedOut
from trialbus.client.patience import Patience, patiently
from trialbus.client.records import (
    Applied,
    Best,
    Series,
    Trial,
    kinds_of,
    parse_best,
    parse_series,
    parse_trial,
)
from trialbus.contracts.cloud_events import STRUCTURED
from trialbus.contracts.http_paths import experiment_path, path_of, query_of
from trialbus.contracts.progress import Progress, parse_progress
from trialbus.kernel import errors as kernel

Json = Any
Object = dict[str, Any]
PAGE_ITEMS = 500
DEFAULT_NAMESPACE = "default"
# An experiment is looked at so often while it is waited for.
FIRST_LOOK_S, LAST_LOOK_S = 0.1, 1.0
_SOURCE = "/trialbus/python"
_TYPE = "io.trialbus.experiment.{}.v1"


def new_id() -> str:
    """Of a command: however often it is sent, it is obeyed once."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """namespace: where it is not said. Every flow raises what `failures` has."""

    patience: Patience
    namespace: str = DEFAULT_NAMESPACE

    # Reading ------------------------------------------------------------------------------------

    def read(self, path: str) -> Flow[Json]:
        answer = yield from patiently(Call(method="GET", path=path), self.patience)
        return good(answer).json()

    def of(self, name: str, namespace: str | None, *more: str) -> str:
        return experiment_path(namespace or self.namespace, name, *more)

    def page(self, path: str, after: str | None, **query: str | None) -> Flow[Json]:
        return self.read(path + query_of({**query, "limit": PAGE_ITEMS, "after": after}))

    def progress(self, name: str, namespace: str | None) -> Flow[Progress]:
        return parse_progress((yield from self.read(self.of(name, namespace, "progress"))))

    def kinds(self, name: str, namespace: str | None) -> Flow[dict[str, str]]:
        return kinds_of((yield from self.read(self.of(name, namespace))))

    def best(self, name: str, namespace: str | None) -> Flow[Best | None]:
        kinds = yield from self.kinds(name, namespace)
        return parse_best((yield from self.progress(name, namespace)), kinds)

    def trial(self, trial: str) -> Flow[Trial]:
        raw = yield from self.read(path_of("trials", trial))
        metadata = raw["metadata"]
        experiment = metadata.get("labels", {}).get("katib.kubeflow.org/experiment")
        kinds: dict[str, str] = {}
        if experiment:
            kinds = yield from self.kinds(experiment, metadata.get("namespace"))
        return parse_trial(raw, kinds)

    def metrics(self, trial: str) -> Flow[tuple[Series, ...]]:
        found = yield from self.read(path_of("trials", trial, "metrics"))
        return tuple(parse_series(it) for it in found["metrics"])

    def wait(
        self,
        name: str,
        namespace: str | None,
        timeout: float | None,
        on_progress: Callable[[Progress], object] | None,
    ) -> Flow[Progress]:
        """Until it has ended. Raises TimedOut."""
        began, pause = self.patience.now(), FIRST_LOOK_S
        while True:
            progress = yield from self.progress(name, namespace)
            if on_progress is not None:
                on_progress(progress)
            if progress.ended:
                return progress
            left = None if timeout is None else timeout - (self.patience.now() - began)
            if left is not None and left <= 0:
                raise TimedOut(f"{name} is {progress.phase} after {timeout:g} s")
            yield Pause(seconds=pause if left is None else min(pause, left))
            pause = min(pause * 1.5, LAST_LOOK_S)

    # Commands -----------------------------------------------------------------------------------

    def apply(self, experiment: Object, working_dir: Path | None, id: str | None) -> Flow[Applied]:
        namespace, name, placed = self._placed(experiment)
        command = id or new_id()
        said = {"id": command, "object": placed}
        folder = None if working_dir is None else str(working_dir)
        if folder is not None:
            said["workingDir"] = folder
        on_bus = {"id": command, "object": placed, "working_dir": folder}
        call = Call(
            method="PUT",
            path=experiment_path(namespace, name),
            body=_json(said),
            bus=BusWord(namespace=namespace, name=name, verb="apply", body=_json(on_bus)),
        )
        return _applied((yield from patiently(call, self.patience)))

    def create(self, experiment: Object, working_dir: Path | None, id: str | None) -> Flow[Applied]:
        """Raises Conflict if the name is taken."""
        namespace, name, placed = self._placed(experiment)
        event = self._command_event("create", namespace, name, placed, id)
        if working_dir is not None:
            event["workingdir"] = str(working_dir)
        applied = _as_applied((yield from self.post_event(event, None)))
        # Over NATS it is only told whether there was anything to do: that is to create it.
        return replace(applied, created=applied.created or applied.changed)

    def edit(
        self, name: str, changes: Mapping[str, Json], namespace: str | None, id: str | None
    ) -> Flow[Applied]:
        where = namespace or self.namespace
        event = self._command_event("edit", where, name, dict(changes), id)
        return _as_applied((yield from self.post_event(event, None)))

    def tell(
        self, verb: str, name: str, namespace: str | None, id: str | None, uid: str | None
    ) -> Flow[Applied]:
        """suspend, resume, stop."""
        command, where = id or new_id(), namespace or self.namespace
        call = Call(
            method="POST",
            path=experiment_path(where, name, verb) + query_of({"id": command, "uid": uid}),
            bus=_bus_command(where, name, verb, {"id": command, "uid": uid}),
        )
        return _applied((yield from patiently(call, self.patience)))

    def delete(
        self, name: str, namespace: str | None, keep_history: bool, id: str | None, uid: str | None
    ) -> Flow[Applied]:
        command, where = id or new_id(), namespace or self.namespace
        query = {"id": command, "uid": uid, "keepHistory": "true" if keep_history else None}
        body = {"id": command, "uid": uid, "keep_history": keep_history}
        call = Call(
            method="DELETE",
            path=experiment_path(where, name) + query_of(query),
            bus=_bus_command(where, name, "delete", body),
        )
        return _applied((yield from patiently(call, self.patience)))

    def post_event(self, event: Mapping[str, Json], wait: float | None) -> Flow[Object]:
        """wait: seconds for the experiment's end."""
        whole = {"specversion": "1.0", "id": new_id(), "source": _SOURCE, **event}
        body, headers = _json(whole), {"content-type": STRUCTURED}
        call = Call(
            method="POST",
            path=path_of("events") + query_of({"wait": None if wait is None else int(wait)}),
            body=body,
            headers=headers,
            holds_s=wait or 0.0,
            bus=None if wait else self._bus_event(whole, body, headers),
        )
        answer = good((yield from patiently(call, self.patience)))
        found: Object = answer.json()
        return found

    def _bus_event(
        self, event: Mapping[str, Json], body: bytes, headers: Mapping[str, str]
    ) -> BusWord | None:
        """None: it says of no experiment what is to become of it."""
        verb = str(event.get("type", "")).removeprefix("io.trialbus.experiment.")
        metadata = (event.get("data") or {}).get("metadata") or {}
        namespace, _, name = str(event.get("subject") or "").rpartition("/")
        namespace = namespace or metadata.get("namespace") or self.namespace
        name = name or metadata.get("name", "")
        if not name:
            return None
        return BusWord(
            namespace=namespace,
            name=name,
            verb=verb.removesuffix(".v1"),
            body=body,
            headers=headers,
        )

    def _command_event(
        self, verb: str, namespace: str, name: str, data: Object, id: str | None
    ) -> Object:
        subject = f"{namespace}/{name}"
        event = {"type": _TYPE.format(verb), "subject": subject, "data": data}
        return event if id is None else {**event, "id": id}

    def _placed(self, experiment: Object) -> tuple[str, str, Object]:
        """Its namespace and name, and itself with both. Raises ValueError."""
        metadata = experiment.get("metadata")
        if not isinstance(metadata, Mapping) or not metadata.get("name"):
            raise ValueError("an Experiment needs metadata.name")
        namespace = str(metadata.get("namespace") or self.namespace)
        placed = {**experiment, "metadata": {**metadata, "namespace": namespace}}
        return namespace, str(metadata["name"]), placed


def read_object(experiment: Mapping[str, Json] | str | os.PathLike[str]) -> Object:
    """An Experiment, or the YAML file that holds one. Raises Refused."""
    if isinstance(experiment, Mapping):
        return dict(experiment)
    # Only those who pass files pay for YAML.
    from trialbus.contracts.yaml_input import load_document  # noqa: PLC0415

    try:
        return load_document(Path(experiment).read_bytes())
    except kernel.Refused as refused:
        raise Refused(f"{experiment} is refused", refused.problems) from refused


def folder_of(
    experiment: Mapping[str, Json] | str | os.PathLike[str],
    working_dir: str | os.PathLike[str] | None,
) -> Path | None:
    """Where its trials run: what is said, else the file's folder."""
    if working_dir is not None:
        return Path(working_dir).absolute()
    return None if isinstance(experiment, Mapping) else Path(experiment).absolute().parent


def _bus_command(namespace: str, name: str, verb: str, body: Object) -> BusWord:
    given = {key: value for key, value in body.items() if value is not None}
    return BusWord(namespace=namespace, name=name, verb=verb, body=_json(given))


def _json(value: Json) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _applied(answer: Answer) -> Applied:
    return _as_applied(good(answer).json())


def _as_applied(said: Object) -> Applied:
    return Applied(
        id=str(said["id"]),
        uid=str(said.get("uid") or ""),
        created=bool(said.get("created", False)),
        changed=bool(said.get("changed", True)),
    )
