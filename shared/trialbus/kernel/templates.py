"""A trial's template and its parameters -> what runs: arguments, variables, working folder.

Values replace placeholders inside the strings of the parsed object, in one pass: a value is never
read again, neither as YAML, as a placeholder, nor by a shell. So no value can change anything but
its own place.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trialbus.kernel.checkpoints import CHECKPOINT_VARIABLE, Checkpoint
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.images import LocalImages
from trialbus.kernel.job_templates import TEMPLATE_FIELD, JobProcess, PodField, read_job
from trialbus.kernel.limits import MAX_ARGUMENT_BYTES, MAX_YAML_BYTES
from trialbus.kernel.local_processes import (
    LocalProcess,
    Surroundings,
    default_process,
    localised,
)
from trialbus.kernel.reporting import METRICS_PATH_VARIABLE
from trialbus.kernel.spec import TrialTemplate
from trialbus.kernel.trial import Assignment

Json = Any

# The port that a trial is to answer Prometheus at: on one machine each has its own.
METRICS_PORT_VARIABLE = "TRIALBUS_METRICS_PORT"

# No braces in a name: so the search for a closing one never starts twice at one place.
_PLACEHOLDER = re.compile(r"\$\{trialParameters\.([^{}\n]+)\}")
_META = re.compile(
    r"\$\{trialSpec\.(Name|Namespace|Kind|APIVersion|(Annotations|Labels)\[([^\[\]{}]+)\])\}"
)
# Kubernetes replaces $(NAME) in commands, arguments and variables; $$(NAME) stays as $(NAME).
_REFERENCE = re.compile(
    r"\$\{trialParameters\.(?P<parameter>[^{}\n]+)\}"
    r"|\$\((?P<variable>[A-Za-z_.-][\w.-]*)\)|(?P<literal>\$\$(?=\())",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultTemplate:
    """The command for experiments without a template; each parameter becomes `name=value`."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialIdentity:
    """What a trial's command is told about its trial beside the parameters."""

    namespace: str
    experiment: str
    name: str
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRun:
    """command: argv. env: to add to the base environment. search_path: folders that come first on
    PATH. parameters_json: name -> value, all values as text; also in env as TRIALBUS_PARAMETERS,
    and meant to be written to a file. image: of the container, to tell what was meant."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str | None
    deadline_s: float | None
    parameters_json: str
    search_path: tuple[str, ...] = ()
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsFile:
    """What the collector reads. path: as the template names it; local: where it is here."""

    path: str
    local: str


def render_command(
    template: TrialTemplate | DefaultTemplate,
    trial: TrialIdentity,
    assignments: Sequence[Assignment],
    *,
    interpreter: str,
    working_dir: str | None = None,
    images: LocalImages | None = None,
    metrics: MetricsFile | None = None,
    checkpoint: Checkpoint | None = None,
    variables: Mapping[str, str] | None = None,
) -> RenderedRun:
    """The process of one trial. `working_dir`: where relative paths of the template begin.
    `images`: None if they are not known. `variables`: more of them, which the template may use.
    `checkpoint`: None where no trial is to run.

    Raises Refused when the template has no such process, a parameter is missing or the result
    is longer than the system takes; a template that passed `check_template` never does, except
    for what the values themselves bring.
    """
    values = {assignment.name: assignment.value for assignment in assignments}
    own = {**trial_variables(trial, values), **(variables or {})}
    around = Surroundings(
        interpreter=interpreter,
        working_dir=working_dir,
        images=images,
        private=_private_paths(metrics, checkpoint),
    )
    if checkpoint:
        own.update(checkpoint.variables())
    known = {**own, **_names_inside(metrics, checkpoint)}
    if metrics:
        own[METRICS_PATH_VARIABLE] = metrics.local
    deadline_s = None
    if isinstance(template, DefaultTemplate):
        words = (*template.command, *(f"{name}={value}" for name, value in values.items()))
        run = default_process(words, around)
    else:
        job = read_job(template)
        deadline_s = job.deadline_s
        run = _expanded(job, _resolved(template, trial, values), known, trial, around)
    rendered = RenderedRun(
        command=run.command,
        env={**run.env, **own},
        working_dir=run.working_dir,
        deadline_s=deadline_s,
        parameters_json=own["TRIALBUS_PARAMETERS"],
        search_path=run.search_path,
        image=run.image,
    )
    _check_sizes(rendered)
    return rendered


def render_object(
    template: TrialTemplate, trial: TrialIdentity, assignments: Sequence[Assignment]
) -> dict[str, Json]:
    """The object that the trial becomes, under the trial's name. Raises Refused as above."""
    values = {assignment.name: assignment.value for assignment in assignments}
    text = _Text(_resolved(template, trial, values))
    rendered: dict[str, Json] = text.fill_in(template.trial_spec)
    given = rendered.get("metadata")
    metadata = {
        **(given if isinstance(given, dict) else {}),
        "name": trial.name,
        "namespace": trial.namespace,
    }
    return {**rendered, "metadata": metadata}


def placeholders(node: Json) -> list[str]:
    """The names in `${trialParameters.<name>}` in all strings and keys, in order, each once."""
    return list(dict.fromkeys(name for text in _texts(node) for name in _PLACEHOLDER.findall(text)))


def mentions(node: Json, text: str) -> bool:
    """Whether `text` stands in any string or key."""
    return any(text in string for string in _texts(node))


def is_meta_reference(reference: str) -> bool:
    """Whether a trial parameter refers to the trial itself: `${trialSpec.Name}` and so on."""
    return _META.fullmatch(reference) is not None


def looks_like_meta(reference: str) -> bool:
    """Whether it was meant to: Katib takes whatever begins so for one."""
    return reference.startswith("${trialSpec.")


def meta_value(
    reference: str, trial_spec: Mapping[str, Json], name: str, namespace: str
) -> str | None:
    """What `${trialSpec.<...>}` stands for; None: the template has no such label or annotation."""
    match = _META.fullmatch(reference)
    if match is None:
        return None
    key, mapping, entry = match.groups()
    if mapping is not None:
        metadata = trial_spec.get("metadata")
        entries = metadata.get(mapping.lower()) if isinstance(metadata, Mapping) else None
        value = entries.get(entry) if isinstance(entries, Mapping) else None
        return value if isinstance(value, str) else None
    known = {
        "Name": name,
        "Namespace": namespace,
        "Kind": str(trial_spec.get("kind", "")),
        "APIVersion": str(trial_spec.get("apiVersion", "")),
    }
    return known[key]


def _resolved(
    template: TrialTemplate, trial: TrialIdentity, values: Mapping[str, str]
) -> dict[str, str]:
    """Trial parameter -> value."""
    resolved, missing = {}, []
    for i, parameter in enumerate(template.parameters):
        reference = parameter.reference
        if is_meta_reference(reference):
            value = meta_value(reference, template.trial_spec, trial.name, trial.namespace)
        else:
            value = values.get(reference)
        if value is None:
            where = f"{TEMPLATE_FIELD}.trialParameters[{i}].reference"
            missing.append(Problem(field=where, message=f"{reference} has no value"))
        else:
            resolved[parameter.name] = value
    if missing:
        raise Refused(missing)
    return resolved


def trial_variables(trial: TrialIdentity, values: Mapping[str, str]) -> dict[str, str]:
    """What every trial is told of itself. values: parameter -> value."""
    return {
        "TRIALBUS_PARAMETERS": json.dumps(values, ensure_ascii=False),
        "TRIALBUS_NAMESPACE": trial.namespace,
        "TRIALBUS_EXPERIMENT": trial.experiment,
        "TRIALBUS_TRIAL_NAME": trial.name,
        "TRIALBUS_ATTEMPT": str(trial.attempt),
        "KATIB_TRIAL_NAME": trial.name,
    }


def _private_paths(metrics: MetricsFile | None, checkpoint: Checkpoint | None) -> dict[str, str]:
    """Path in the template -> local path."""
    paths = {**checkpoint.paths()} if checkpoint else {}
    return {**paths, metrics.path: metrics.local} if metrics else paths


def _names_inside(metrics: MetricsFile | None, checkpoint: Checkpoint | None) -> dict[str, str]:
    """Variables that the template knows by paths of the container, which become local ones like
    any other."""
    names = {METRICS_PATH_VARIABLE: metrics.path} if metrics else {}
    if checkpoint and checkpoint.inside:
        names[CHECKPOINT_VARIABLE] = checkpoint.inside
    return names


def _check_sizes(run: RenderedRun) -> None:
    """Of longer arguments the system only says `Argument list too long`."""
    texts = [*run.command, *(f"{name}={value}" for name, value in run.env.items())]
    sizes = [len(text.encode()) for text in texts]
    if max(sizes) > MAX_ARGUMENT_BYTES or sum(sizes) > MAX_YAML_BYTES:
        raise _too_long()


def _too_long() -> Refused:
    message = (
        f"with its parameters filled in, an argument or variable is longer than "
        f"{MAX_ARGUMENT_BYTES} bytes, or all together are longer than {MAX_YAML_BYTES}"
    )
    return Refused([Problem(field=TEMPLATE_FIELD, message=message)])


class _Text:
    """Fills values into strings; stops when the result grows out of bounds."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._left = MAX_YAML_BYTES

    def fill_in(self, node: Json) -> Json:
        """The same value with its placeholders replaced (one that nothing stands for stays)."""
        if isinstance(node, str):
            return self.expand(node, None)
        if isinstance(node, Mapping):
            return {key: self.fill_in(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [self.fill_in(item) for item in node]
        return node

    def expand(self, text: str, variables: Mapping[str, str] | None) -> str:
        """`text` with parameters and, unless None, with `$(NAME)` of `variables` replaced."""
        pieces, at, size = [], 0, 0
        for match in _REFERENCE.finditer(text):
            pieces += [text[at : match.start()], self._replacement(match, variables)]
            at = match.end()
            size += len(pieces[-1])
            if size > min(self._left, MAX_ARGUMENT_BYTES):
                raise _too_long()
        self._left -= size
        return "".join(pieces) + text[at:]

    def _replacement(self, match: re.Match[str], variables: Mapping[str, str] | None) -> str:
        if (name := match["parameter"]) is not None:
            return self._values.get(name, match[0])
        if variables is None:
            return match[0]
        return "$" if match["literal"] else variables.get(match["variable"], match[0])


def _expanded(
    run: JobProcess,
    values: Mapping[str, str],
    known: Mapping[str, str],
    trial: TrialIdentity,
    around: Surroundings,
) -> LocalProcess:
    """Variables may refer to those above them, as in Kubernetes."""
    text = _Text(values)
    variables, env = dict(known), {}
    for variable in run.env:
        if isinstance(variable.value, PodField):
            value = text.expand(_pod_field(run, variable.value, trial), None)
        else:
            value = text.expand(variable.value, variables)
        variables[variable.name] = env[variable.name] = value
    folder = run.working_dir
    filled_in = replace(
        run,
        command=tuple(text.expand(word, variables) for word in run.command),
        args=tuple(text.expand(word, variables) for word in run.args),
        working_dir=None if folder is None else text.expand(folder, None),
        image=text.expand(run.image, None),
    )
    return localised(filled_in, env, around)


def _pod_field(run: JobProcess, field: PodField, trial: TrialIdentity) -> str:
    """As the trial's pod would have it; a label that is not there is empty."""
    match field.name:
        case "name":
            return trial.name
        case "namespace":
            return trial.namespace
        case "labels":
            return {**run.labels, **_trial_labels(trial)}.get(field.key, "")
        case _:
            return run.annotations.get(field.key, "")


def _trial_labels(trial: TrialIdentity) -> dict[str, str]:
    """Those that Katib and Kubernetes give to a trial's pod."""
    return {
        "katib.kubeflow.org/experiment": trial.experiment,
        "katib.kubeflow.org/trial": trial.name,
        "batch.kubernetes.io/job-name": trial.name,
        "job-name": trial.name,
    }


def _texts(node: Json) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield key
            yield from _texts(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _texts(item)
