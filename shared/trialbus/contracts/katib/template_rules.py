"""The rules of `spec.trialTemplate`: Katib's 18 to 25 here, 26 to 31 in `trial_parameter_rules`, 33
to 35 of the object itself in `object_rules`.

Numbers are those of Katib's validation webhook (validator.go, in the order in which it checks). A
template that is found by name is judged as one that is written in place; 25 and 32 are of finding
it (`template_sources`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trialbus.contracts.katib.condition_rules import condition_problems
from trialbus.contracts.katib.models import ExperimentSpec, ParameterSpec, TrialTemplate
from trialbus.contracts.katib.object_rules import object_problems
from trialbus.contracts.katib.template_sources import FoundTemplate
from trialbus.contracts.katib.trial_parameter_rules import trial_parameter_problems
from trialbus.kernel import templates
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.job_templates import TEMPLATE_FIELD
from trialbus.kernel.spec import Place, TrialParameter
from trialbus.kernel.spec import TrialTemplate as KernelTemplate
from trialbus.kernel.trial import Assignment

Json = Any

_LONGEST_NAME = "x" * 63
# What a number may become as text: `-1.2345678901234567e-300`.
_LONGEST_NUMBER = "-" + "9" * 24


def template_problems(
    spec: ExperimentSpec, found: FoundTemplate, place: Place, *, default_template_allowed: bool
) -> Iterator[Problem]:
    """`found`: the template's object."""
    template = spec.trial_template
    if template is None:
        if not default_template_allowed:
            yield _problem("", "must be specified: no default template is configured")  # 18
        return
    yield from _own_problems(template, found)
    yield from condition_problems(template)
    yield from found.problems  # 24, 25, 32
    if found.trial_spec is None:
        return
    within = (
        *object_problems(kernel_template(template, found.trial_spec), place),
        *trial_parameter_problems(template.trial_parameters, found.trial_spec, spec.parameters),
    )
    yield from map(found.place, within)


def _own_problems(template: TrialTemplate, found: FoundTemplate) -> Iterator[Problem]:
    if not template.primary_container_name:
        yield _problem(".primaryContainerName", "must be specified")  # 19
    conditions = template.success_condition and template.failure_condition
    if not conditions and (found.trial_spec is not None or not found.by_name):
        yield _problem("", "successCondition and failureCondition must be specified")  # 20
    if template.trial_parameters is None:
        yield _problem(".trialParameters", "must be specified")  # 21
    if template.trial_spec is None and template.config_map is None:
        yield _problem(  # 22
            "", "spec.trialTemplate.trialSpec or spec.trialTemplate.configMap must be specified"
        )
    if template.trial_spec is not None and template.config_map is not None:
        yield _problem(  # 23
            "",
            "only one of spec.trialTemplate.trialSpec or spec.trialTemplate.configMap can be "
            "specified",
        )


def kernel_template(template: TrialTemplate, trial_spec: Mapping[str, Json]) -> KernelTemplate:
    """The template as the kernel has it. What is missing is empty."""
    return KernelTemplate(
        trial_spec=trial_spec,
        parameters=tuple(
            TrialParameter(
                name=parameter.name or "",
                reference=parameter.reference or "",
                description=parameter.description or "",
            )
            for parameter in template.trial_parameters or ()
        ),
        primary_container=template.primary_container_name or "",
        primary_pod_labels=template.primary_pod_labels or {},
        success_condition=template.success_condition or "",
        failure_condition=template.failure_condition or "",
        retain=template.retain or False,
    )


def rendering_problems(
    template: KernelTemplate, parameters: Sequence[ParameterSpec], experiment: str, place: Place
) -> Iterator[Problem]:
    """Render the template once, with the longest values that are known beforehand. For a template
    that keeps all other rules."""
    values = {parameter.name or "": _longest_value(parameter) for parameter in parameters}
    # An architecture search names its outputs itself.
    outputs = {p.reference: _LONGEST_NUMBER for p in template.parameters} if not values else {}
    longest = [Assignment(name=name, value=value) for name, value in (outputs | values).items()]
    trial = templates.TrialIdentity(
        namespace=_LONGEST_NAME, experiment=experiment, name=_LONGEST_NAME
    )
    try:
        if place is Place.ONE_MACHINE:
            templates.render_command(template, trial, longest, interpreter="python")
        templates.render_object(template, trial, longest)
    except Refused as exc:
        yield from exc.problems


def _longest_value(parameter: ParameterSpec) -> str:
    listed = (parameter.feasible_space and parameter.feasible_space.list) or []
    return max([_LONGEST_NUMBER, *listed], key=lambda text: len(text.encode()))


def _problem(suffix: str, message: str) -> Problem:
    return Problem(field=f"{TEMPLATE_FIELD}{suffix}", message=message)
