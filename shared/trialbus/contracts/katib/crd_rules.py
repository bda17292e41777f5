"""Rules that an API server itself holds an Experiment to, in CEL: those of Katib's webhook and of
ours that one object alone answers. All others are judged by the gateway, which writes into the
status what is wrong.

`at` is the path of the schema that has the rule, `[]` for the items of a list. Numbers of rules are
those of Katib's validation webhook. Null is no value here: the API server takes it out before.
"""

from dataclasses import dataclass

from trialbus.kernel.limits import DEFAULT_PARALLEL_TRIAL_COUNT, MAX_EXPERIMENT_NAME_CHARS

# As the kernel's NUMBER and INTEGER, in RE2.
_NUMBER = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"
_INTEGER = "^[+-]?[0-9]+$"
_NAME = f"^[a-z]([-a-z0-9]{{0,{MAX_EXPERIMENT_NAME_CHARS - 2}}}[a-z0-9])?$"
_RANGED = "self.parameterType in ['double', 'int']"
_SPACE = "self.feasibleSpace"
_EDITABLE = (
    "is not editable: only parallelTrialCount, maxTrialCount, maxFailedTrialCount, objective.goal "
    "and suspend are; give the new experiment another name"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CelRule:
    """field: the part of `at` that is wrong, as a JSON path from there."""

    at: str
    rule: str
    message: str
    field: str = ""

    def shown(self) -> dict[str, str]:
        """As `x-kubernetes-validations` has it."""
        made = {"rule": self.rule, "message": self.message}
        return made | ({"fieldPath": self.field} if self.field else {})


def _given(path: str) -> str:
    """An empty text is as good as none."""
    return f"(has({path}) && {path} != '')"


_IS_GIVEN = {name: _given(f"{_SPACE}.{name}") for name in ("min", "max", "step")}


def _of_parameters(at: str) -> tuple[CelRule, ...]:
    """Of a list of parameters, wherever it is."""
    return (*_of_ranges(at), *_of_lists(at))


def _of_ranges(at: str) -> tuple[CelRule, ...]:
    """Of the numbers from min to max."""
    given = _IS_GIVEN
    low, high, step = (f"{_SPACE}.{name}" for name in given)
    readable = f"{low}.matches('{_NUMBER}') && {high}.matches('{_NUMBER}')"
    ends = f"{given['min']} && {given['max']}"
    return (
        CelRule(  # 42
            at=at,
            rule=f"!({_RANGED}) || ({ends})",
            message="min and max must be given for parameterType double or int",
            field=".feasibleSpace",
        ),
        CelRule(
            at=at,
            rule=f"self.parameterType != 'double' || !({ends}) || ({readable})",
            message="min and max must be finite numbers for parameterType double",
            field=".feasibleSpace",
        ),
        CelRule(
            at=at,
            rule=f"self.parameterType != 'int' || !({ends}) || "
            f"({low}.matches('{_INTEGER}') && {high}.matches('{_INTEGER}'))",
            message="min and max must be integers for parameterType int",
            field=".feasibleSpace",
        ),
        CelRule(
            at=at,
            rule=f"!({_RANGED}) || !({ends}) || !({readable}) || double({low}) <= double({high})",
            message="min is greater than max",
            field=".feasibleSpace.min",
        ),
        CelRule(
            at=at,
            rule=f"!({_RANGED}) || !{given['step']} || "
            f"({step}.matches('{_NUMBER}') && double({step}) > 0.0)",
            message="must be a number above 0",
            field=".feasibleSpace.step",
        ),
        CelRule(
            at=at,
            rule=f"!({_RANGED}) || !has({_SPACE}.distribution) || "
            f"!({_SPACE}.distribution in ['logUniform', 'logNormal']) || !{given['min']} || "
            f"!{low}.matches('{_NUMBER}') || double({low}) > 0.0",
            message="must be above 0 for the distributions logUniform and logNormal",
            field=".feasibleSpace.min",
        ),
    )


def _of_lists(at: str) -> tuple[CelRule, ...]:
    """Of lists, and that only those have one."""
    listed = f"has({_SPACE}.list) && size({_SPACE}.list) > 0"
    return (
        CelRule(  # 41
            at=at,
            rule=f"!({_RANGED}) || !({listed})",
            message="is not supported for parameterType double or int",
            field=".feasibleSpace.list",
        ),
        CelRule(  # 43
            at=at,
            rule=f"{_RANGED} || !({' || '.join(_IS_GIVEN.values())})",
            message="min, max and step are not supported for parameterType discrete or categorical",
            field=".feasibleSpace",
        ),
        CelRule(
            at=at,
            rule=f"{_RANGED} || ({listed})",
            message="must hold at least one value for parameterType discrete or categorical",
            field=".feasibleSpace.list",
        ),
    )


def _fixed(*paths: str) -> tuple[CelRule, ...]:
    """What stays as it was created (9)."""
    return tuple(CelRule(at=at, rule="self == oldSelf", message=_EDITABLE) for at in paths)


def _both_or_neither(name: str) -> CelRule:
    rule = f"has(self.{name}) == has(oldSelf.{name})"
    return CelRule(at="spec", rule=rule, message=f"{name} {_EDITABLE}")


_COUNTS = (
    CelRule(  # 5
        at="spec",
        rule="!has(self.maxTrialCount) || !has(self.maxFailedTrialCount) || "
        "self.maxFailedTrialCount <= self.maxTrialCount",
        message="should be less than or equal to spec.maxTrialCount",
        field=".maxFailedTrialCount",
    ),
    CelRule(  # 6
        at="spec",
        rule="!has(self.maxTrialCount) || (has(self.parallelTrialCount) ? "
        f"self.parallelTrialCount : {DEFAULT_PARALLEL_TRIAL_COUNT}) <= self.maxTrialCount",
        message="should be less than or equal to spec.maxTrialCount; left out, it is "
        f"{DEFAULT_PARALLEL_TRIAL_COUNT}",
        field=".parallelTrialCount",
    ),
)
_SEARCHED = (
    CelRule(  # 36
        at="spec",
        rule="has(self.nasConfig) || (has(self.parameters) && size(self.parameters) > 0)",
        message="spec.parameters or spec.nasConfig must be specified",
    ),
    CelRule(  # 37
        at="spec",
        rule="!has(self.nasConfig) || !has(self.parameters) || size(self.parameters) == 0",
        message="only one of spec.parameters and spec.nasConfig can be specified",
    ),
    CelRule(
        at="spec.nasConfig.operations[]",
        rule="self.operationType == 'skip_connection' || "
        "(has(self.parameters) && size(self.parameters) > 0)",
        message="must be specified, with at least one parameter",
        field=".parameters",
    ),
    CelRule(
        at="spec.nasConfig.operations[].parameters[]",
        rule=f"self.parameterType != 'double' || {_given(f'{_SPACE}.step')}",
        message="must be given: an operation has finitely many forms",
        field=".feasibleSpace.step",
    ),
)
_OBJECTIVE = (
    CelRule(  # 13
        at="spec.objective",
        rule="!has(self.additionalMetricNames) || "
        "!(self.objectiveMetricName in self.additionalMetricNames)",
        message="should not contain spec.objective.objectiveMetricName",
        field=".additionalMetricNames",
    ),
    CelRule(
        at="spec.objective",
        rule="!has(self.metricStrategies) || self.metricStrategies.all(s, "
        "s.name == self.objectiveMetricName || (has(self.additionalMetricNames) && "
        "s.name in self.additionalMetricNames))",
        message="names a metric that is none of the objective",
        field=".metricStrategies",
    ),
)
_TEMPLATE = (
    CelRule(  # 22
        at="spec.trialTemplate",
        rule="has(self.trialSpec) || has(self.configMap)",
        message="spec.trialTemplate.trialSpec or spec.trialTemplate.configMap must be specified",
    ),
    CelRule(  # 23
        at="spec.trialTemplate",
        rule="!has(self.trialSpec) || !has(self.configMap)",
        message="only one of spec.trialTemplate.trialSpec or spec.trialTemplate.configMap can be "
        "specified",
    ),
    CelRule(  # 33; `namespace` is a word of CEL's own
        at="spec.trialTemplate.trialSpec",
        rule="!has(self.metadata) || !("
        f"{_given('self.metadata.name')} || {_given('self.metadata.__namespace__')})",
        message="metadata.name and metadata.namespace in spec.trialTemplate must be omitted",
        field=".metadata",
    ),
    CelRule(  # 26
        at="spec.trialTemplate.trialParameters[]",
        rule="!self.name.contains('{') && !self.name.contains('}') && !self.name.contains('\\n')",
        message="must contain neither { nor } nor line ends",
        field=".name",
    ),
)

_KIND = "has(self.collector) && has(self.collector.kind) && self.collector.kind == "
_AT = "self.source.fileSystemPath"
_HAS_AT = f"has(self.source) && has({_AT})"
_ABSOLUTE = f"(!{_given(f'{_AT}.path')} || {_AT}.path.startsWith('/'))"


def _of_path(collector: str, kind: str) -> CelRule:
    """Fields that are left out have defaults that are right."""
    return CelRule(
        at="spec.metricsCollectorSpec",
        rule=f"!({_KIND}'{collector}') || !({_HAS_AT}) || "
        f"({_ABSOLUTE} && (!{_given(f'{_AT}.kind')} || {_AT}.kind == '{kind}'))",
        message=f"of the collector {collector}: must be an absolute path of the kind {kind}",
        field=".source.fileSystemPath",
    )


_COLLECTOR = (
    _of_path("File", "File"),  # 45
    _of_path("TensorFlowEvent", "Directory"),  # 46
    CelRule(  # 45
        at="spec.metricsCollectorSpec",
        rule=f"!({_KIND}'File') || !({_HAS_AT}) || !has({_AT}.format) || "
        f"{_AT}.format != 'JSON' || !has(self.source.filter)",
        message="filter must be nil when format of metrics file is json",
        field=".source.filter",
    ),
    CelRule(  # 46
        at="spec.metricsCollectorSpec",
        rule=f"!({_KIND}'TensorFlowEvent') || !({_HAS_AT}) || !{_given(f'{_AT}.format')}",
        message="format must be empty for the collector TensorFlowEvent",
        field=".source.fileSystemPath",
    ),
    CelRule(  # 47
        at="spec.metricsCollectorSpec",
        rule=f"!({_KIND}'PrometheusMetric') || !has(self.source) || !has(self.source.httpGet) || "
        f"!{_given('self.source.httpGet.path')} || self.source.httpGet.path.startsWith('/')",
        message="must start with /, the path of the metrics endpoint",
        field=".source.httpGet.path",
    ),
    CelRule(  # 48
        at="spec.metricsCollectorSpec",
        rule=f"!({_KIND}'Custom') || has(self.collector.customCollector)",
        message="must be specified for the collector kind Custom",
        field=".collector.customCollector",
    ),
)

RULES = (
    CelRule(  # 1
        at="",
        rule=f"self.metadata.name.matches('{_NAME}')",
        message="name must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, end with an alphanumeric character and may not be longer than "
        f"{MAX_EXPERIMENT_NAME_CHARS} characters",
    ),
    *_COUNTS,
    *_SEARCHED,
    *_of_parameters("spec.parameters[]"),
    *_of_parameters("spec.nasConfig.operations[].parameters[]"),
    *_OBJECTIVE,
    *_TEMPLATE,
    *_COLLECTOR,
    *map(_both_or_neither, ("parameters", "nasConfig", "earlyStopping", "trialTemplate")),
    *_fixed(
        "spec.parameters",
        "spec.nasConfig",
        "spec.algorithm",
        "spec.earlyStopping",
        "spec.trialTemplate",
        "spec.metricsCollectorSpec",
        "spec.resumePolicy",
        "spec.objective.type",
        "spec.objective.objectiveMetricName",
        "spec.objective.additionalMetricNames",
        "spec.objective.metricStrategies",
    ),
)
