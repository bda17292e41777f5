"""The rules of `spec.trialTemplate`: Katib's 18 to 35, and what one machine can run.

Numbers are those of Katib's validation webhook (validator.go, in the order in which it checks).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trialbus.contracts.katib.defaults import JOB_FAILURE, JOB_SUCCESS
from trialbus.contracts.katib.job_fields import unknown_job_fields
from trialbus.contracts.katib.models import ParameterSpec, TrialParameterSpec, TrialTemplate
from trialbus.contracts.katib.shape import did_you_mean
from trialbus.kernel import templates
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.job_templates import TEMPLATE_FIELD, read_job
from trialbus.kernel.spec import TrialParameter
from trialbus.kernel.spec import TrialTemplate as KernelTemplate
from trialbus.kernel.trial import Assignment

Json = Any

_LONGEST_NAME = "x" * 63
# What a number may become as text: `-1.2345678901234567e-300`.
_LONGEST_NUMBER = "-" + "9" * 24
# The same expressions are written with and without blanks.
_JOB_CONDITIONS = {"successCondition": JOB_SUCCESS, "failureCondition": JOB_FAILURE}


def template_problems(
    template: TrialTemplate | None,
    parameters: Sequence[ParameterSpec],
    *,
    default_template_allowed: bool,
) -> Iterator[Problem]:
    """`parameters`: of the experiment; none: an architecture search."""
    if template is None:
        if not default_template_allowed:
            yield _problem("", "must be specified: no default template is configured")  # 18
        return
    if not template.primary_container_name:
        yield _problem(".primaryContainerName", "must be specified")  # 19
    if template.config_map is None and not (
        template.success_condition and template.failure_condition
    ):
        yield _problem("", "successCondition and failureCondition must be specified")  # 20
    if template.trial_parameters is None:
        yield _problem(".trialParameters", "must be specified")  # 21
    if template.trial_spec is None and template.config_map is None:
        yield _problem("", "spec.trialTemplate.trialSpec must be specified")  # 22
    yield from _config_map_problems(template)
    if template.trial_spec is None:
        return
    yield from _object_problems(template, template.trial_spec)
    if template.trial_parameters is not None:
        yield from _parameter_problems(template.trial_parameters, template.trial_spec, parameters)


def kernel_template(template: TrialTemplate) -> KernelTemplate:
    """The template as the kernel has it. What is missing is empty."""
    return KernelTemplate(
        trial_spec=template.trial_spec or {},
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
    template: TrialTemplate, parameters: Sequence[ParameterSpec], experiment: str
) -> Iterator[Problem]:
    """Render the template once, with the longest values that there can be. For a template that
    keeps all other rules."""
    longest = [
        Assignment(name=parameter.name or "", value=_longest_value(parameter))
        for parameter in parameters
    ]
    trial = templates.TrialIdentity(
        namespace=_LONGEST_NAME, experiment=experiment, name=_LONGEST_NAME
    )
    kernel = kernel_template(template)
    try:
        templates.render_command(kernel, trial, longest, interpreter="python")
        templates.render_object(kernel, trial, longest)
    except Refused as exc:
        yield from exc.problems


def _longest_value(parameter: ParameterSpec) -> str:
    listed = (parameter.feasible_space and parameter.feasible_space.list) or []
    return max([_LONGEST_NUMBER, *listed], key=lambda text: len(text.encode()))


def _problem(suffix: str, message: str) -> Problem:
    return Problem(field=f"{TEMPLATE_FIELD}{suffix}", message=message)


def _config_map_problems(template: TrialTemplate) -> Iterator[Problem]:
    source = template.config_map
    if source is None:
        return
    if template.trial_spec is not None:  # 23
        yield _problem(
            "",
            "only one of spec.trialTemplate.trialSpec or spec.trialTemplate.configMap can be "
            "specified",
        )
    elif not (source.config_map_name and source.config_map_namespace and source.template_path):
        yield _problem(  # 24
            ".configMap", "configMapName, configMapNamespace and templatePath must be specified"
        )
    yield _problem(
        ".configMap", "is not supported yet: write the template into spec.trialTemplate.trialSpec"
    )


def _object_problems(template: TrialTemplate, trial_spec: Mapping[str, Json]) -> Iterator[Problem]:
    metadata = trial_spec.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        yield _problem(".trialSpec.metadata", "must be an object (fields with values)")
    elif metadata and (metadata.get("name") or metadata.get("namespace")):  # 33
        yield _problem(
            ".trialSpec.metadata",
            "metadata.name and metadata.namespace in spec.trialTemplate must be omitted",
        )
    version, kind = trial_spec.get("apiVersion"), trial_spec.get("kind")
    if not version or not kind or not isinstance(version, str) or not isinstance(kind, str):
        message = "APIVersion and Kind in spec.trialTemplate must be specified"  # 34
        yield _problem(".trialSpec", message)
    elif (version, kind) != ("batch/v1", "Job"):
        yield _problem(
            ".trialSpec",
            f"{kind:.60} of {version:.60} needs a cluster; on one machine a trial is a Job of "
            "batch/v1",
        )
    else:
        yield from _job_problems(template, trial_spec)


def _job_problems(template: TrialTemplate, job: Mapping[str, Json]) -> Iterator[Problem]:
    for suffix, message in unknown_job_fields(job):  # 35
        yield _problem(f".trialSpec{suffix}", message)
    try:
        read_job(kernel_template(template))
    except Refused as exc:
        yield from exc.problems
    given = {
        "successCondition": template.success_condition,
        "failureCondition": template.failure_condition,
    }
    for name, condition in given.items():
        if condition and "".join(condition.split()) != _JOB_CONDITIONS[name]:
            yield _problem(
                f".{name}",
                "is not supported on one machine, where a Job has succeeded when its command "
                f"ended with exit code 0: leave it out, or write {_JOB_CONDITIONS[name]}",
            )


def _parameter_problems(
    trial_parameters: Sequence[TrialParameterSpec],
    trial_spec: Mapping[str, Json],
    parameters: Sequence[ParameterSpec],
) -> Iterator[Problem]:
    used = templates.placeholders(trial_spec)
    occurring = frozenset(used)
    names = [parameter.name or "" for parameter in parameters]
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
    for field in _keys_with_placeholders(trial_spec):
        message = f"placeholders are replaced in values, not in names of fields: {field:.60}"
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


def _keys_with_placeholders(node: Json) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if templates.placeholders(key):
                yield key
            yield from _keys_with_placeholders(value)
    elif isinstance(node, list):
        for item in node:
            yield from _keys_with_placeholders(item)
