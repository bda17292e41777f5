"""What Katib's own client writes wrongly, set right before anything is checked.

`kubeflow.katib.search.categorical([...])` of 0.19 puts its list where the distribution belongs;
Katib itself refuses that.
"""

from collections.abc import Mapping
from typing import Any

Json = Any

_LISTED = ("categorical", "discrete")


def without_quirks(obj: Mapping[str, Json]) -> Mapping[str, Json]:
    """The same object where there is nothing to set right. `obj` may be of any shape."""
    spec = obj.get("spec")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("parameters"), list):
        return obj
    parameters = spec["parameters"]
    corrected = [_with_its_list(parameter) for parameter in parameters]
    if corrected == parameters:
        return obj
    return {**obj, "spec": {**spec, "parameters": corrected}}


def _with_its_list(parameter: Json) -> Json:
    if not isinstance(parameter, Mapping) or parameter.get("parameterType") not in _LISTED:
        return parameter
    space = parameter.get("feasibleSpace")
    if not isinstance(space, Mapping) or space.get("list") is not None:
        return parameter
    given = space.get("distribution")
    if not isinstance(given, list):
        return parameter
    others = {name: value for name, value in space.items() if name != "distribution"}
    return {**parameter, "feasibleSpace": {**others, "list": [_as_text(it) for it in given]}}


def _as_text(value: Json) -> Json:
    """Everywhere else the client puts numbers in quotes itself."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value
