"""Where `spec.trialTemplate` takes its object from: written in place, or found by name.

A template that was found is part of the experiment from then on: it is kept in its specification,
and an object that is applied again and names the same one gets that one, whatever has become of
its file. So a changed or lost template changes only the experiments that are yet to come.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import is_name
from trialbus.kernel.job_templates import TEMPLATE_FIELD, TRIAL_SPEC_FIELD
from trialbus.kernel.spec import TrialTemplate

Json = Any
# Its text, YAML or JSON, or the object. None: it cannot be seen from here; who runs the experiment
# looks for it.
Template = str | Mapping[str, Json] | None

CONFIG_MAP_FIELD = f"{TEMPLATE_FIELD}.configMap"
_REFERENCE_FIELDS = ("configMapName", "configMapNamespace", "templatePath")
# Kubernetes' own rules for the names of ConfigMaps and of the entries in them.
_CONFIG_MAP_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_ENTRY_NAME = re.compile(r"(?!\.\.?$)[-._a-zA-Z0-9]{1,253}")
_PLACEHOLDER = re.compile(r"\$\{trialParameters\.[^{}\n]+\}")
_STAND_IN = "katibTestValue"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateReference:
    """The entry `path` of the ConfigMap `name` in `namespace`. Valid names: none is a path."""

    name: str
    namespace: str
    path: str


class TemplateSource(Protocol):
    """Finds templates by their references."""

    def find(self, reference: TemplateReference) -> Template:
        """Raises Refused, saying where it was looked for."""
        ...


class TemplatesElsewhere:
    """For those who check a file before they send it to where the templates are."""

    def find(self, reference: TemplateReference) -> Template:
        del reference
        return None


class GivenTemplate:
    """The text that somebody who could see it has found for an experiment."""

    def __init__(self, text: str) -> None:
        self._text = text

    def find(self, reference: TemplateReference) -> Template:
        del reference
        return self._text


class KeptTemplates:
    """The template that the living experiment was created with, if there is one; any other comes
    from `others`."""

    def __init__(self, experiment: Experiment | None, others: TemplateSource | None) -> None:
        self._reference: TemplateReference | None = None
        self._template: TrialTemplate | None = None
        self._others = others
        if experiment is not None:
            written = (experiment.source.get("spec") or {}).get("trialTemplate") or {}
            self._reference = _reference(written.get("configMap") or {})
            self._template = experiment.spec.template

    def has(self, reference: TemplateReference) -> bool:
        return reference == self._reference and self._template is not None

    def find(self, reference: TemplateReference) -> Template:
        if reference == self._reference and self._template is not None:
            return self._template.trial_spec
        return _found(reference, self._others)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTemplate:
    """trial_spec: None, if there is none or `problems` say why it is not there. by_name: it was
    found by its name. unseen: it is to be found by name, elsewhere."""

    trial_spec: Mapping[str, Json] | None = None
    problems: tuple[Problem, ...] = ()
    by_name: bool = False
    unseen: bool = False

    def place(self, problem: Problem) -> Problem:
        """A problem of the object that the user's file does not hold is a problem of its name."""
        if not self.by_name or not problem.field.startswith(TRIAL_SPEC_FIELD):
            return problem
        inner = problem.field.removeprefix(TRIAL_SPEC_FIELD).removeprefix(".")
        message = f"in the template, {inner}: {problem.message}" if inner else problem.message
        return Problem(field=CONFIG_MAP_FIELD, message=message)


def reference_in(obj: Mapping[str, Json]) -> TemplateReference | None:
    """Of an Experiment of any shape: the template that it only names; None: it names none, or
    nothing that can be one."""
    node: Json = obj
    for field in ("spec", "trialTemplate"):
        node = node.get(field) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or node.get("trialSpec") is not None:
        return None
    config_map = node.get("configMap")
    if not isinstance(config_map, Mapping):
        return None
    texts = all(isinstance(config_map.get(field), str) for field in _REFERENCE_FIELDS)
    return _reference(config_map) if texts else None


def find_template(
    template: Mapping[str, Json] | None, source: TemplateSource | None
) -> FoundTemplate:
    """The object of a template of the right shape."""
    written = template or {}
    trial_spec, config_map = written.get("trialSpec"), written.get("configMap")
    if trial_spec is not None or config_map is None:
        return FoundTemplate(trial_spec=trial_spec)
    reference = _reference(config_map)
    if reference is None:
        return FoundTemplate(problems=tuple(_reference_problems(config_map)), by_name=True)
    try:
        found = _found(reference, source)
        if found is None:
            return FoundTemplate(by_name=True, unseen=True)
        trial_spec = _read(found) if isinstance(found, str) else found
        return FoundTemplate(trial_spec=trial_spec, by_name=True)
    except Refused as refused:  # 25, 32
        problems = [
            Problem(field=CONFIG_MAP_FIELD, message=f"unable to parse {TEMPLATE_FIELD}: {problem}")
            for problem in refused.problems
        ]
        return FoundTemplate(problems=tuple(problems), by_name=True)


def _found(reference: TemplateReference, source: TemplateSource | None) -> Template:
    if source is None:
        message = "no place is configured where templates are found by name"
        raise Refused([Problem(field="", message=message)])
    return source.find(reference)


def _reference(config_map: Mapping[str, Json]) -> TemplateReference | None:
    if any(True for _ in _reference_problems(config_map)):
        return None
    name, namespace, path = (config_map[field] for field in _REFERENCE_FIELDS)
    return TemplateReference(name=name, namespace=namespace, path=path)


def _reference_problems(config_map: Mapping[str, Json]) -> list[Problem]:
    name, namespace, path = (config_map.get(field) or "" for field in _REFERENCE_FIELDS)
    if not (name and namespace and path):  # 24
        message = f"{', '.join(_REFERENCE_FIELDS[:2])} and {_REFERENCE_FIELDS[2]} must be specified"
        return [Problem(field=CONFIG_MAP_FIELD, message=message)]
    valid = (
        _CONFIG_MAP_NAME.fullmatch(name) is not None,
        is_name(namespace),
        _ENTRY_NAME.fullmatch(path) is not None,
    )
    kinds = ("a ConfigMap", "a namespace", "an entry of a ConfigMap")
    return [  # 25: there can be no such thing
        Problem(field=f"{CONFIG_MAP_FIELD}.{field}", message=f"no name of {kind}")
        for field, kind, right in zip(_REFERENCE_FIELDS, kinds, valid, strict=True)
        if not right
    ]


def _read(text: str) -> Mapping[str, Json]:
    """Katib puts values for the placeholders before it reads the text, so YAML must not see them:
    in `[--lr, ${trialParameters.lr}]` their braces would mean something."""
    stand_in = _STAND_IN
    while stand_in in text:
        stand_in += "0"
    names = list(dict.fromkeys(_PLACEHOLDER.findall(text)))
    numbers = {name: f"{stand_in}N{i}E" for i, name in enumerate(names)}
    replaced = _PLACEHOLDER.sub(lambda match: numbers[match[0]], text)
    standing_in = re.compile(rf"{stand_in}N(\d+)E")

    def restored(node: Json) -> Json:
        if isinstance(node, dict):
            return {restored(key): restored(value) for key, value in node.items()}
        if isinstance(node, list):
            return [restored(item) for item in node]
        if isinstance(node, str):
            return standing_in.sub(lambda match: names[int(match[1])], node)
        return node

    read: Mapping[str, Json] = restored(load_document(replaced.encode()))
    return read
