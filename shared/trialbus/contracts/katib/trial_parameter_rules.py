"""The rules of `spec.trialTemplate.trialParameters`: Katib's 26 to 31, and that none is left out.

Numbers are those of Katib's validation webhook (validator.go).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trialbus.contracts.katib.models import ParameterSpec, TrialParameterSpec
from trialbus.contracts.katib.shape import did_you_mean
from trialbus.kernel import templates
from trialbus.kernel.errors import Problem
from trialbus.kernel.job_templates import TEMPLATE_FIELD

Json = Any


def trial_parameter_problems(
    trial_parameters: Sequence[TrialParameterSpec] | None,
    trial_spec: Mapping[str, Json],
    parameters: Sequence[ParameterSpec] | None,
) -> Iterator[Problem]:
    """`parameters`: of the experiment; none: an architecture search, whose algorithm names what it
    gives to a trial. `trial_parameters` None: that has been said."""
    if trial_parameters is None:
        return
    used = templates.placeholders(trial_spec)
    occurring = frozenset(used)
    names = [parameter.name or "" for parameter in parameters or ()]
    for i, parameter in enumerate(trial_parameters):
        yield from _one_problem(i, parameter, trial_spec, names, occurring)
    yield from _duplicates(trial_parameters)
    known = list(dict.fromkeys(p.name for p in trial_parameters if p.name))
    defined = frozenset(known)
    for name in used:
        if name not in defined:  # 31
            hint = did_you_mean(name, known)
            message = f"${{trialParameters.{name:.60}}} is not found in trialParameters{hint}"
            yield _problem(".trialSpec", message)
    references = {parameter.reference for parameter in trial_parameters}
    for i, name in enumerate(names):
        if name and name not in references:
            yield Problem(
                field=f"spec.parameters[{i}].name",
                message=f"{name:.60} is used by no trialParameters: refer to it, or leave it out",
            )


def _one_problem(
    i: int,
    parameter: TrialParameterSpec,
    trial_spec: Mapping[str, Json],
    names: Sequence[str],
    used: frozenset[str],
) -> Iterator[Problem]:
    name, reference, where = parameter.name, parameter.reference, f".trialParameters[{i}]"
    if not name or not reference:  # 26
        yield _problem(where, "name and reference must be specified")
        return
    if "{" in name or "}" in name or "\n" in name:  # 26
        yield _problem(f"{where}.name", "must contain neither { nor } nor line ends")
        return
    if templates.looks_like_meta(reference):
        yield from _meta_problems(f"{where}.reference", reference, trial_spec)
    elif names and reference not in names:  # 29
        message = f"parameter reference {reference:.60} does not exist in spec.parameters"
        yield _problem(f"{where}.reference", message + did_you_mean(reference, names))
    if name not in used:  # 30
        message = f"${{trialParameters.{name:.60}}} does not occur in trialSpec"
        yield _problem(f"{where}.name", message)


def _meta_problems(where: str, reference: str, trial_spec: Mapping[str, Json]) -> Iterator[Problem]:
    if not templates.is_meta_reference(reference):
        yield _problem(
            where,
            f"{reference:.60} is not supported: Name, Namespace, Kind, APIVersion, "
            "Annotations[key] and Labels[key] are",
        )
    elif templates.meta_value(reference, trial_spec, "name", "namespace") is None:
        yield _problem(where, f"{reference:.60}: trialSpec.metadata has no such entry")


def _duplicates(trial_parameters: Sequence[TrialParameterSpec]) -> Iterator[Problem]:
    for field in ("name", "reference"):  # 27, 28
        seen: set[str] = set()
        for i, parameter in enumerate(trial_parameters):
            value = getattr(parameter, field)
            if value and value in seen:
                message = f"parameter {field} {value:.60} can't be duplicated"
                yield _problem(f".trialParameters[{i}].{field}", message)
            seen.add(value)


def _problem(suffix: str, message: str) -> Problem:
    return Problem(field=f"{TEMPLATE_FIELD}{suffix}", message=message)
