"""What one machine runs of a batch/v1 Job: its primary container, as one process.

What is used, what is ignored and what is refused: docs/reference/one-machine.md.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.spec import TrialTemplate

Json = Any

TEMPLATE_FIELD = "spec.trialTemplate"
TRIAL_SPEC_FIELD = f"{TEMPLATE_FIELD}.trialSpec"
_POD_FIELD = f"{TRIAL_SPEC_FIELD}.spec.template.spec"
# metadata.name, metadata.namespace, metadata.labels['key'], metadata.annotations['key']
_FIELD_PATH = re.compile(r"metadata\.(?:(name|namespace)|(labels|annotations)\['([^']+)'\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodField:
    """What a variable takes from its pod. key: of an entry in labels or annotations."""

    name: str
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    name: str
    value: str | PodField


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProcess:
    """A container as one process, with its placeholders. command: empty, if its image is to have
    one. labels, annotations: of its pod. where: the field of the container."""

    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    working_dir: str | None = None
    deadline_s: float | None = None
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


def read_job(template: TrialTemplate) -> JobProcess:
    """The primary container of a batch/v1 Job as a process. Raises Refused with every problem."""
    reader = _JobReader()
    process = reader.read(template)
    if reader.problems or process is None:
        raise Refused(reader.problems)
    return process


@dataclass(slots=True)
class _JobReader:
    """Reads what one machine can do of a Job; the rest is refused, never silently left out."""

    problems: list[Problem] = field(default_factory=list)

    def read(self, template: TrialTemplate) -> JobProcess | None:
        job = self._fields(template.trial_spec, "spec", TRIAL_SPEC_FIELD)
        pod_template = self._fields(job, "template", f"{TRIAL_SPEC_FIELD}.spec")
        pod = self._fields(pod_template, "spec", f"{TRIAL_SPEC_FIELD}.spec.template")
        if self.problems:
            return None
        for count in ("parallelism", "completions"):
            if job.get(count, 1) not in (None, 1):
                self._wrong(f"{TRIAL_SPEC_FIELD}.spec.{count}", "must be 1 on one machine")
        if job.get("suspend"):
            self._wrong(f"{TRIAL_SPEC_FIELD}.spec.suspend", "a suspended Job never starts")
        if pod.get("initContainers"):
            message = "is not supported on one machine: let the command do this first"
            self._wrong(f"{_POD_FIELD}.initContainers", message)
        deadlines = [
            self._deadline(job, f"{TRIAL_SPEC_FIELD}.spec"),
            self._deadline(pod, _POD_FIELD),
        ]
        found = self._primary(pod, template.primary_container)
        if found is None:
            return None
        container, where = found
        return JobProcess(
            command=self._command(container, where),
            args=self._words(container, "args", where),
            env=self._env(container, where),
            working_dir=self._text(container, "workingDir", where) or None,
            deadline_s=min((d for d in deadlines if d is not None), default=None),
            image=self._text(container, "image", where),
            labels=_entries(pod_template, "labels"),
            annotations=_entries(pod_template, "annotations"),
            where=where,
        )

    def _wrong(self, where: str, message: str) -> None:
        self.problems.append(Problem(field=where, message=message))

    def _fields(self, parent: Mapping[str, Json], name: str, where: str) -> Mapping[str, Json]:
        value = parent.get(name)
        if isinstance(value, Mapping):
            return value
        if not self.problems:
            self._wrong(f"{where}.{name}", "must be an object (fields with values)")
        return {}

    def _deadline(self, parent: Mapping[str, Json], where: str) -> float | None:
        value = parent.get("activeDeadlineSeconds")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self._wrong(f"{where}.activeDeadlineSeconds", "must be a whole number of at least 1")
            return None
        return float(value)

    def _primary(self, pod: Mapping[str, Json], name: str) -> tuple[Mapping[str, Json], str] | None:
        where = f"{_POD_FIELD}.containers"
        containers = pod.get("containers")
        if not isinstance(containers, list) or not all(isinstance(c, Mapping) for c in containers):
            self._wrong(where, "must be a list of containers")
            return None
        names = [str(container.get("name", "")) for container in containers]
        if name not in names:
            known = f"containers: {', '.join(names)}" if names else "there are no containers"
            if name:
                message = f"{name} names no container of trialSpec; {known}"
                self._wrong(f"{TEMPLATE_FIELD}.primaryContainerName", message)
            return None
        if len(containers) > 1:
            self._wrong(where, "on one machine there can be only the primary container")
        at = names.index(name)
        return containers[at], f"{where}[{at}]"

    def _command(self, container: Mapping[str, Json], where: str) -> tuple[str, ...]:
        command = self._words(container, "command", where)
        if not command and not container.get("image"):
            self._wrong(f"{where}.command", "must be given: there is no image to have one")
        elif command and not command[0]:
            self._wrong(f"{where}.command[0]", "must not be empty")
        return command

    def _words(self, container: Mapping[str, Json], name: str, where: str) -> tuple[str, ...]:
        words = container.get(name)
        if words is None:
            return ()
        if not isinstance(words, list):
            self._wrong(f"{where}.{name}", "must be a list of texts")
            return ()
        for i, word in enumerate(words):
            if not isinstance(word, str):
                message = f"must be text, not {json.dumps(word):.60}: write it in quotes"
                self._wrong(f"{where}.{name}[{i}]", message)
        return tuple(word for word in words if isinstance(word, str))

    def _text(self, parent: Mapping[str, Json], name: str, where: str) -> str:
        value = parent.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        message = f"must be text, not {json.dumps(value):.60}: write it in quotes"
        self._wrong(f"{where}.{name}", message)
        return ""

    def _env(self, container: Mapping[str, Json], where: str) -> tuple[Variable, ...]:
        sources = container.get("envFrom") or []
        if not isinstance(sources, list) or not all(map(_is_optional, sources)):
            message = "is not supported on one machine: write the variables into env"
            self._wrong(f"{where}.envFrom", message)
        entries = container.get("env") or []
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            self._wrong(f"{where}.env", "must be a list of variables with name and value")
            return ()
        found = [self._variable(entry, f"{where}.env[{i}]") for i, entry in enumerate(entries)]
        return tuple(variable for variable in found if variable is not None)

    def _variable(self, entry: Mapping[str, Json], where: str) -> Variable | None:
        """None: it comes from something that need not be there, and here it is not."""
        name = self._text(entry, "name", where)
        if not name or "=" in name:
            self._wrong(f"{where}.name", "must be given, without =")
        source = entry.get("valueFrom")
        if source is None:
            return Variable(name=name, value=self._text(entry, "value", where))
        if _is_optional(source):
            return None
        reference = source.get("fieldRef") if isinstance(source, Mapping) else None
        path = reference.get("fieldPath") if isinstance(reference, Mapping) else None
        match = _FIELD_PATH.fullmatch(path) if isinstance(path, str) else None
        if match is None:
            message = (
                "on one machine only fieldRef is supported, with metadata.name, "
                "metadata.namespace, metadata.labels['key'] or metadata.annotations['key']: "
                "write a value"
            )
            self._wrong(f"{where}.valueFrom", message)
            return None
        return Variable(name=name, value=PodField(name=match[1] or match[2], key=match[3] or ""))


def _is_optional(source: Json) -> bool:
    """Whether a ConfigMap or Secret may be missing, as all of them are here."""
    references = list(source.values()) if isinstance(source, Mapping) else []
    return any(isinstance(it, Mapping) and it.get("optional") is True for it in references)


def _entries(pod_template: Mapping[str, Json], name: str) -> dict[str, str]:
    metadata = pod_template.get("metadata")
    entries = metadata.get(name) if isinstance(metadata, Mapping) else None
    found = entries.items() if isinstance(entries, Mapping) else ()
    return {key: value for key, value in found if isinstance(value, str)}
