"""The rules of an Experiment, with Katib's numbers (its validation webhook, validator.go).

Each function yields every problem of its part. 7, 8 and 9 concern edits and are decided where the
living experiment is known; 10 stops nothing here: the other problems are said too. The
template's rules are in `template_rules`, the collector's in `collector_rules`, those of the search
space in `parameter_rules` and `nas_rules`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trialbus.contracts.katib.annotations import annotation_problems
from trialbus.contracts.katib.collector_rules import collector_problems
from trialbus.contracts.katib.models import (
    AlgorithmSpec,
    ExperimentSpec,
    Metadata,
    NameValue,
    ObjectiveSpec,
)
from trialbus.contracts.katib.nas_rules import kernel_nas, nas_problems
from trialbus.contracts.katib.parameter_rules import parameter_problems, search_problems
from trialbus.contracts.katib.shape import did_you_mean
from trialbus.contracts.katib.template_rules import template_problems
from trialbus.contracts.katib.template_sources import FoundTemplate
from trialbus.kernel.catalogue import (
    KATIB_ALGORITHMS,
    KATIB_STOPPING_RULES,
    Catalogue,
    Description,
    check_settings,
)
from trialbus.kernel.errors import Problem
from trialbus.kernel.ids import is_name
from trialbus.kernel.limits import DEFAULT_PARALLEL_TRIAL_COUNT, MAX_EXPERIMENT_NAME_CHARS
from trialbus.kernel.objective import ObjectiveType, Strategy
from trialbus.kernel.spec import Place, ResumePolicy

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_COUNTS = (
    ("maxFailedTrialCount", "max_failed_trial_count", 0, "should not be less than 0"),  # 2
    ("maxTrialCount", "max_trial_count", 1, "must be greater than 0"),  # 3
    ("parallelTrialCount", "parallel_trial_count", 1, "must be greater than 0"),  # 4
)
_BELOW_MAX = (
    ("maxFailedTrialCount", "max_failed_trial_count"),  # 5
    ("parallelTrialCount", "parallel_trial_count"),  # 6
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What a name stands for, and Katib's own names of that kind."""

    noun: str
    katibs: Sequence[str]


_SEARCH = _Kind(noun="algorithm", katibs=KATIB_ALGORITHMS)
_STOPPING = _Kind(noun="stopping rule", katibs=KATIB_STOPPING_RULES)


def metadata_problems(metadata: Metadata | None) -> Iterator[Problem]:
    """1, the namespace, and our annotations."""
    metadata = metadata or Metadata()
    name = metadata.name or ""
    if _NAME.fullmatch(name) is None or len(name) > MAX_EXPERIMENT_NAME_CHARS:
        yield Problem(
            field="metadata.name",
            message=f"{_shown(name)}: name must consist of lower case alphanumeric characters or "
            "'-', start with an alphabetic character, end with an alphanumeric character and "
            f"may not be longer than {MAX_EXPERIMENT_NAME_CHARS} characters",
        )
    if metadata.namespace and not is_name(metadata.namespace):
        yield Problem(
            field="metadata.namespace",
            message=f"{_shown(metadata.namespace)}: must consist of lower case alphanumeric "
            "characters or '-', start and end with an alphanumeric character and may not be "
            "longer than 63 characters",
        )
    yield from annotation_problems(metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the rules look at beside the object. template: what the trial template's object is."""

    catalogue: Catalogue
    place: Place
    template: FoundTemplate
    default_template_allowed: bool


def spec_problems(spec: ExperimentSpec, around: Circumstances) -> Iterator[Problem]:
    """All other rules. `spec` has its defaults."""
    catalogue = around.catalogue
    yield from _count_problems(spec)
    yield from _objective_problems(spec.objective)
    yield from _algorithm_problems("spec.algorithm", spec.algorithm, catalogue.algorithms, _SEARCH)
    if spec.early_stopping is not None:
        yield from _algorithm_problems(
            "spec.earlyStopping", spec.early_stopping, catalogue.stopping_rules, _STOPPING
        )
    if spec.resume_policy not in _values(ResumePolicy):  # 17
        yield Problem(
            field="spec.resumePolicy",
            message=f"{_shown(spec.resume_policy)}: invalid ResumePolicyType: must be "
            f"{' or '.join(_values(ResumePolicy))}",
        )
    yield from template_problems(
        spec,
        around.template,
        around.place,
        default_template_allowed=around.default_template_allowed,
    )
    name = spec.algorithm.algorithm_name if spec.algorithm is not None else None
    algorithm = catalogue.algorithms.get(name or "")
    yield from parameter_problems(spec, algorithm)
    wrong_nas = list(nas_problems(spec.nas_config, algorithm))
    yield from wrong_nas
    if not wrong_nas:
        nas = kernel_nas(spec.nas_config)
        yield from search_problems(spec, algorithm, settings_of(spec.algorithm), nas)
    yield from collector_problems(spec.metrics_collector_spec)


def _count_problems(spec: ExperimentSpec) -> Iterator[Problem]:
    for field, attribute, least, message in _COUNTS:
        value = getattr(spec, attribute)
        if value is not None and value < least:
            yield Problem(field=f"spec.{field}", message=f"{value}: {message}")
    limit = spec.max_trial_count
    for field, attribute in _BELOW_MAX:
        value = getattr(spec, attribute)
        if limit is not None and limit > 0 and value is not None and value > limit:
            message = f"{value}: should be less than or equal to spec.maxTrialCount {limit}"
            # Whoever wrote none is told where the number comes from.
            by_default = (attribute, value) == (
                "parallel_trial_count",
                DEFAULT_PARALLEL_TRIAL_COUNT,
            )
            hint = f"; left out, it is {DEFAULT_PARALLEL_TRIAL_COUNT}" if by_default else ""
            yield Problem(field=f"spec.{field}", message=f"{message}{hint}")


def _objective_problems(objective: ObjectiveSpec | None) -> Iterator[Problem]:
    if objective is None:  # 10
        yield Problem(field="spec.objective", message="must be specified")
        return
    if objective.type not in _values(ObjectiveType):  # 11
        given = f"{_shown(objective.type)}: " if objective.type else ""
        yield Problem(field="spec.objective.type", message=f"{given}must be minimize or maximize")
    if not objective.objective_metric_name:  # 12
        yield Problem(field="spec.objective.objectiveMetricName", message="must be specified")
    seen: set[str] = set()
    for i, name in enumerate(objective.additional_metric_names or []):
        where = f"spec.objective.additionalMetricNames[{i}]"
        if not name:
            yield Problem(field=where, message="must not be empty")
        elif name == objective.objective_metric_name:  # 13
            yield Problem(
                field=where, message="should not contain spec.objective.objectiveMetricName"
            )
        elif name in seen:
            yield Problem(field=where, message=f"{_shown(name)} is listed more than once")
        seen.add(name)
    yield from _strategy_problems(objective)


def _strategy_problems(objective: ObjectiveSpec) -> Iterator[Problem]:
    names = [objective.objective_metric_name or "", *(objective.additional_metric_names or [])]
    known, seen = frozenset(names), set[str]()
    for i, strategy in enumerate(objective.metric_strategies or []):
        where = f"spec.objective.metricStrategies[{i}]"
        name = strategy.name or ""
        if name not in known:
            hint = did_you_mean(name, names) or f"; metrics: {', '.join(names):.200}"
            yield Problem(
                field=f"{where}.name", message=f"{_shown(name)} is no metric of the objective{hint}"
            )
        elif name in seen:
            yield Problem(
                field=f"{where}.name", message=f"{_shown(name)} has more than one strategy"
            )
        seen.add(name)
        if strategy.value not in _values(Strategy):
            yield Problem(
                field=f"{where}.value",
                message=f"{_shown(strategy.value)}: must be {' or '.join(_values(Strategy))}",
            )


def _algorithm_problems(
    field: str, spec: AlgorithmSpec | None, known: Mapping[str, Description], kind: _Kind
) -> Iterator[Problem]:
    if spec is None:  # 14
        yield Problem(field=field, message="must be specified")
        return
    name = spec.algorithm_name
    if not name:  # 15, 16
        yield Problem(field=f"{field}.algorithmName", message="must be specified")
        return
    description = known.get(name)
    if description is None:  # 15, 16
        message = f"there is no {kind.noun} {_shown(name)}{_installed(name, sorted(known), kind)}"
        yield Problem(field=f"{field}.algorithmName", message=message)
        return
    settings = f"{field}.algorithmSettings"
    for problem in check_settings(description, settings_of(spec)):
        where = settings if problem.index is None else f"{settings}[{problem.index}]"
        hint = "" if problem.index is None else _setting_hint(spec, problem.index, description)
        yield Problem(field=where, message=f"{problem.message}{hint}")


def _installed(name: str, known: Sequence[str], kind: _Kind) -> str:
    """What there is instead."""
    if name in kind.katibs:
        told = f"; Katib's {name} is not installed here; installed: {', '.join(known)}"
        elsewhere = "; TRIALBUS_REMOTE_ALGORITHMS may name a server of it"
        return told + (elsewhere if kind is _SEARCH else "")
    return did_you_mean(name, known) or f"; known: {', '.join(known)}"


def _setting_hint(spec: AlgorithmSpec, index: int, description: Description) -> str:
    """What was meant by an unknown setting."""
    name = settings_of(spec)[index][0]
    names = [setting.name for setting in description.settings]
    if name in names:
        return ""
    return did_you_mean(name, names) or f"; known: {', '.join(names) or 'none'}"


def settings_of(spec: AlgorithmSpec | None) -> tuple[tuple[str, str], ...]:
    """The settings as the kernel has them."""
    given: Sequence[NameValue] = (spec.algorithm_settings if spec is not None else None) or ()
    return tuple((setting.name or "", setting.value or "") for setting in given)


def _values(
    kind: type[ObjectiveType | Strategy | ResumePolicy],
) -> list[str]:
    return [member.value for member in kind]


def _shown(text: str | None) -> str:
    return '""' if not text else f"{text:.60}"
