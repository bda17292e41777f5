"""Experiments for tests of Katib's rules: small changes of one object, and what is installed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trialbus.contracts.katib.template_sources import Template, TemplateReference
from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Catalogue,
    Setting,
    StoppingRuleDescription,
)
from trialbus.kernel.spec import Place
from trialbus.runtime.template_folder import TemplateFolder

Object = dict[str, Any]

DELETE = object()
_TYPES = frozenset({"double", "int", "discrete", "categorical"})
_SEED = Setting(name="random_state", kind="int", check=lambda v: v >= 0, message="must be >= 0")
CATALOGUE = Catalogue(
    algorithms={
        "random": AlgorithmDescription(
            name="random",
            settings=(_SEED,),
            parameter_types=_TYPES,
            distributions=frozenset({"uniform", "logUniform", "normal", "logNormal"}),
        ),
        "bayesianoptimization": AlgorithmDescription(
            name="bayesianoptimization",
            parameter_types=_TYPES - {"discrete"},
            distributions=frozenset({"uniform"}),
        ),
        "enas": AlgorithmDescription(
            name="enas", searches=frozenset({"architectures"}), any_settings=True
        ),
    },
    stopping_rules={
        "medianstop": StoppingRuleDescription(
            name="medianstop", settings=(Setting(name="start_step", kind="int"),)
        )
    },
)


def at(obj: Any, path: str) -> Any:
    """What stands at `spec.parameters[0].name`."""
    for part in filter(None, path.replace("[", ".").replace("]", "").split(".")):
        obj = obj[int(part)] if part.isdigit() else obj[part]
    return obj


def put(obj: Object, path: str, value: Any) -> None:
    """Set a field, or an item of a list; the value `DELETE` removes it."""
    parent, _, last = path.rpartition(".")
    name, _, index = last.removesuffix("]").partition("[")
    node, key = (at(obj, f"{parent}.{name}"), int(index)) if index else (at(obj, parent), name)
    if value is DELETE:
        del node[key]
    else:
        node[key] = value


def changed(obj: Object, case: Mapping[str, Any]) -> Object:
    """The object with what a case says: remove, set, append."""
    for path in case.get("remove") or ():
        put(obj, path, DELETE)
    for path, value in (case.get("set") or {}).items():
        put(obj, path, value)
    for path, value in (case.get("append") or {}).items():
        at(obj, path).append(value)
    return obj


def options(case: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """How a case is parsed: the place of its trials, its templates as files in `folder`."""
    files = case.get("templates", {})
    for name, text in (files or {}).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {
        "place": Place.CLUSTER if case.get("place") == "cluster" else Place.ONE_MACHINE,
        "templates": None if files is None else TemplateFolder(folder),
    }


class FixedTemplate:
    """A `TemplateSource` that has one text for every name, and counts who asks."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked = 0

    def find(self, reference: TemplateReference) -> Template:
        del reference
        self.asked += 1
        return self.text
