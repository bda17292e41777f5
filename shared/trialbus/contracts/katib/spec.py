"""Katib's Experiment object -> the kernel's specification, or every reason why not."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from trialbus.contracts.katib import annotations, rules
from trialbus.contracts.katib.collector_rules import kernel_collector, one_machine_problems
from trialbus.contracts.katib.defaults import with_defaults
from trialbus.contracts.katib.models import (
    API_VERSION,
    AlgorithmSpec,
    ExperimentObject,
    Metadata,
    ObjectiveSpec,
)
from trialbus.contracts.katib.models import ExperimentSpec as WireSpec
from trialbus.contracts.katib.nas_rules import kernel_nas
from trialbus.contracts.katib.parameter_rules import kernel_parameter
from trialbus.contracts.katib.quirks import without_quirks
from trialbus.contracts.katib.shape import check_shape, did_you_mean, show
from trialbus.contracts.katib.template_rules import kernel_template, rendering_problems
from trialbus.contracts.katib.template_sources import (
    FoundTemplate,
    TemplateSource,
    find_template,
)
from trialbus.contracts.yaml_input import check_json
from trialbus.kernel import spec as kernel
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.limits import MAX_MESSAGE_CHARS, MAX_PROBLEMS
from trialbus.kernel.objective import Objective, ObjectiveType, Strategy
from trialbus.kernel.resources import weight_of
from trialbus.kernel.spec import Place

Json = Any

DEFAULT_NAMESPACE = "default"
# Written by the server; an object that was got and is applied again has them.
_SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
                  "deletionGracePeriodSeconds", "managedFields", "selfLink")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedExperiment:
    """source: the object with its defaults, without status and what the server writes.
    metadata: of `source`."""

    namespace: str
    name: str
    spec: kernel.ExperimentSpec
    source: dict[str, Json]
    metadata: dict[str, Json]


def parse_experiment(
    obj: object,
    *,
    catalogue: Catalogue,
    default_template_allowed: bool = True,
    base_dir: str | os.PathLike[str] | None = None,
    templates: TemplateSource | None = None,
    place: Place = Place.ONE_MACHINE,
) -> ParsedExperiment:
    """Check an Experiment of `kubeflow.org/v1beta1` and take it in.

    `base_dir`: where relative paths of its commands begin, usually the folder of its file.
    `templates`: where templates that it only names are found; one that is kept elsewhere is empty
    in the specification. `place`: where its trials are to run.
    Raises Refused, and nothing else, with every problem, each with its field path.
    """
    check_json(obj)
    if not isinstance(obj, Mapping):
        raise Refused([Problem(field="", message=f"must be an Experiment, not {show(obj)}")])
    if identity := list(_identity_problems(obj)):
        raise Refused(identity)
    rest, wrong = check_shape(without_quirks(obj))
    written: dict[str, Json] = rest.get("spec") or {}
    template = find_template(written.get("trialTemplate"), templates)
    rest["spec"] = with_defaults(written, template.trial_spec)
    wire = ExperimentObject.model_validate(rest)
    metadata, spec = wire.metadata or Metadata(), wire.spec or WireSpec()
    around = rules.Circumstances(
        catalogue=catalogue,
        place=place,
        template=template,
        default_template_allowed=default_template_allowed,
    )
    found = _all_problems(obj, metadata, spec, around)
    _refuse_if_any(wrong, found)
    source = _source(rest, metadata)
    return ParsedExperiment(
        namespace=source["metadata"]["namespace"],
        name=source["metadata"]["name"],
        spec=_kernel_spec(spec, metadata, template, base_dir),
        source=source,
        metadata=source["metadata"],
    )


def _identity_problems(obj: Mapping[str, Json]) -> Iterator[Problem]:
    """A file that is something else is not compared with an Experiment's fields."""
    wanted = {"apiVersion": API_VERSION, "kind": "Experiment"}
    for field, value in wanted.items():
        given = obj.get(field)
        if given is None:
            near = did_you_mean(field, [name for name in obj if name.lower() != field])
            hint = f" ({near.removeprefix('; ')})" if near else ""
            yield Problem(field=field, message=f"must be {value}, but is not given{hint}")
        elif given != value:
            yield Problem(field=field, message=f"must be {value}, not {show(given)}")


def _all_problems(
    obj: Mapping[str, Json], metadata: Metadata, spec: WireSpec, around: rules.Circumstances
) -> Iterator[Problem]:
    yield from rules.metadata_problems(metadata)
    if obj.get("spec") is None:
        yield Problem(field="spec", message="must be specified")
        return
    count = 0
    for problem in rules.spec_problems(spec, around):
        count += 1
        yield problem
    if not count:
        yield from _problems_of_the_whole(metadata, spec, around)


def _problems_of_the_whole(
    metadata: Metadata, spec: WireSpec, around: rules.Circumstances
) -> Iterator[Problem]:
    """Of a spec that keeps every other rule."""
    yield from _warm_problems(metadata, spec, around)
    found, template = around.template, None
    if spec.trial_template is not None and found.trial_spec is not None:
        template = kernel_template(spec.trial_template, found.trial_spec)
        rendered = rendering_problems(
            template, spec.parameters or (), metadata.name or "", around.place
        )
        yield from map(found.place, rendered)
        yield from _weight_problems(metadata, template)
    if around.place is Place.ONE_MACHINE and not found.unseen:
        yield from one_machine_problems(
            kernel_collector(spec.metrics_collector_spec),
            template,
            spec.parallel_trial_count or 0,
        )


def _warm_problems(
    metadata: Metadata, spec: WireSpec, around: rules.Circumstances
) -> Iterator[Problem]:
    """Of algorithms whose trials are no independent points."""
    name = _algorithm(spec.algorithm or AlgorithmSpec()).name
    description = around.catalogue.algorithms.get(name)
    asked = annotations.WARM_START_FROM in (metadata.annotations or {})
    if asked and description is not None and description.warm_start == "refuses":
        able = [it for it, of in around.catalogue.algorithms.items() if of.warm_start == "learns"]
        message = f"{name} cannot learn from trials of others; these can: {', '.join(able)}"
        yield Problem(field=annotations.field_of(annotations.WARM_START_FROM), message=message)


def _weight_problems(metadata: Metadata, template: kernel.TrialTemplate) -> Iterator[Problem]:
    """Seconds that are multiplied by nothing would be no budget."""
    if any(annotations.annotation_problems(metadata)):
        return
    if annotations.max_resource_seconds(metadata) is None:
        return
    counted, wrong = annotations.counted_resource(metadata), ""
    try:
        if not weight_of(template, counted):
            wrong = f"counts {counted}, of which no container of the template asks for any"
    except ValueError as error:
        wrong = f"{error}; it must be a plain number"
    if wrong:
        yield Problem(field=annotations.field_of(annotations.MAX_RESOURCE_SECONDS), message=wrong)


def _refuse_if_any(wrong: list[Problem], found: Iterator[Problem]) -> None:
    """Problems of shape first; what stands at, in or around such a field is a consequence of it."""
    shown = {problem.field for problem in wrong}
    more = (p for p in found if not any(_overlap(p.field, field) for field in shown))
    unique = dict.fromkeys(islice((*wrong, *islice(more, MAX_PROBLEMS)), MAX_PROBLEMS))
    if unique:
        raise Refused([_shortened(problem) for problem in unique])


def _overlap(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or (
        longer.startswith(shorter) and longer[len(shorter)] in ".[" and shorter != "spec"
    )


def _shortened(problem: Problem) -> Problem:
    return Problem(field=problem.field, message=problem.message[:MAX_MESSAGE_CHARS])


def _source(rest: Mapping[str, Json], metadata: Metadata) -> dict[str, Json]:
    kept = {
        name: value
        for name, value in (rest.get("metadata") or {}).items()
        if name not in _SERVER_FIELDS
    }
    kept["namespace"] = metadata.namespace or DEFAULT_NAMESPACE
    return {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": kept,
            "spec": rest["spec"]}  # fmt: skip


def _kernel_spec(
    spec: WireSpec,
    metadata: Metadata,
    found: FoundTemplate,
    base_dir: str | os.PathLike[str] | None,
) -> kernel.ExperimentSpec:
    """Of a spec that keeps the rules."""
    template = spec.trial_template
    return kernel.ExperimentSpec(
        parameters=tuple(kernel_parameter(parameter) for parameter in spec.parameters or ()),
        objective=_objective(spec.objective or ObjectiveSpec()),
        algorithm=_algorithm(spec.algorithm or AlgorithmSpec()),
        early_stopping=None if spec.early_stopping is None else _algorithm(spec.early_stopping),
        template=None if template is None else kernel_template(template, found.trial_spec or {}),
        parallel_trial_count=spec.parallel_trial_count or 0,
        max_trial_count=spec.max_trial_count,
        max_failed_trial_count=spec.max_failed_trial_count,
        metrics_collector=kernel_collector(spec.metrics_collector_spec),
        nas=kernel_nas(spec.nas_config),
        resume_policy=kernel.ResumePolicy(spec.resume_policy or ""),
        working_dir=None if base_dir is None else os.fspath(base_dir),
        at_goal=annotations.at_goal(metadata),
        trials_by=annotations.trials_by(metadata),
        max_duration_s=annotations.max_duration_s(metadata),
        max_resource_seconds=annotations.max_resource_seconds(metadata),
        counted_resource=annotations.counted_resource(metadata),
        warm_start_from=annotations.warm_start_from(metadata),
        keep_best=annotations.keep_best(metadata),
        suspend=spec.suspend or False,
    )


def _objective(spec: ObjectiveSpec) -> Objective:
    return Objective(
        type=ObjectiveType(spec.type or ""),
        metric=spec.objective_metric_name or "",
        goal=spec.goal,
        additional=tuple(spec.additional_metric_names or ()),
        strategies={
            strategy.name or "": Strategy(strategy.value or "")
            for strategy in spec.metric_strategies or ()
        },
    )


def _algorithm(spec: AlgorithmSpec) -> kernel.AlgorithmSpec:
    return kernel.AlgorithmSpec(name=spec.algorithm_name or "", settings=rules.settings_of(spec))
