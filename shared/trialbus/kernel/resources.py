"""How much of a resource a trial asks for, by its template: what its running time is weighed by."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trialbus.kernel.spec import CountedResource, TrialTemplate

Json = Any

# Kubernetes' quantities as far as processors and devices are counted in them.
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([num]?)", re.ASCII)
_SCALES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# Each pod of such an object runs so many times: Jobs, the training operator's jobs.
_TIMES = ("replicas", "parallelism")


def weight_of(template: TrialTemplate | None, counted: CountedResource) -> float:
    """Processors, devices or trials that a trial of this template is: the sum over its containers.
    Without a request for processors, and without a template, 1. Raises ValueError for what is no
    plain quantity."""
    if counted is CountedResource.TRIAL or template is None:
        return 1.0
    asked = [quantity * times for quantity, times in _asked(template.trial_spec, counted, 1)]
    return sum(asked) if asked or counted is CountedResource.GPU else 1.0


def _asked(part: Json, counted: CountedResource, times: int) -> Iterator[tuple[float, int]]:
    """What each container below asks for, and how many there are of it."""
    if isinstance(part, list):
        for item in part:
            yield from _asked(item, counted, times)
    if not isinstance(part, Mapping):
        return
    for name in _TIMES:
        if isinstance(part.get(name), int):
            times *= part[name]
    for name, inner in part.items():
        if name == "containers" and isinstance(inner, list):
            for container in inner:
                yield from ((it, times) for it in _of_container(container, counted))
        else:
            yield from _asked(inner, counted, times)


def _of_container(container: Json, counted: CountedResource) -> Iterator[float]:
    """Its requests, or its limits where it has none: as Kubernetes does."""
    resources = container.get("resources") if isinstance(container, Mapping) else None
    if not isinstance(resources, Mapping):
        return
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    for name, quantity in asked.items():
        is_gpu = name == "gpu" or name.endswith("/gpu")
        if (name == "cpu") if counted is CountedResource.CPU else is_gpu:
            yield _quantity(name, quantity)


def _quantity(name: str, quantity: Json) -> float:
    match = _QUANTITY.fullmatch(str(quantity).strip())
    if match is None or isinstance(quantity, bool):
        raise ValueError(f"counts {name}, of which the template asks for {quantity!r:.80}")
    return float(match[1]) * _SCALES[match[2]]
