"""The rules of `spec.parameters`: Katib's 36 to 43, and of numbers, steps and distributions."""

from collections.abc import Iterator, Sequence

from trialbus.contracts.katib.models import ExperimentSpec, FeasibleSpace, ParameterSpec
from trialbus.kernel import space_rules
from trialbus.kernel.catalogue import (
    AlgorithmDescription,
    Submission,
    check_settings,
    read_settings,
)
from trialbus.kernel.errors import Problem
from trialbus.kernel.limits import DEFAULT_PARALLEL_TRIAL_COUNT
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import NasConfig

_FIELD = "spec.parameters"
_LISTED = frozenset({"categorical", "discrete"})


def parameter_problems(
    spec: ExperimentSpec, algorithm: AlgorithmDescription | None
) -> Iterator[Problem]:
    """`algorithm`: None when it is unknown, so that nothing is said about what it can take."""
    parameters = spec.parameters or []
    if spec.nas_config is not None and parameters:  # 37
        message = "only one of spec.parameters and spec.nasConfig can be specified"
        yield Problem(field="spec", message=message)
    elif spec.nas_config is None and not parameters:  # 36
        yield Problem(field="spec", message=_nothing_to_search(algorithm))
    elif parameters and algorithm is not None and "parameters" not in algorithm.searches:
        message = f"the algorithm {algorithm.name} searches spec.nasConfig, not parameters"
        yield Problem(field=_FIELD, message=message)
        algorithm = None  # of which types it takes, nothing more is to be said
    described = [i for i, parameter in enumerate(parameters) if not _is_bare(parameter)]
    for i, parameter in enumerate(parameters):
        if _is_bare(parameter):  # 40
            yield _nothing_given(f"{_FIELD}[{i}].feasibleSpace", parameter)
    for where, message in space_rules.problems_of([kernel_parameter(p) for p in parameters]):
        index = int(where[1 : where.index("]")])
        if index in described or not where.endswith(_OF_SPACE):
            given = parameters[index].parameter_type if where.endswith(".parameterType") else ""
            shown = f"{given:.60}: " if given else ""
            yield Problem(field=f"{_FIELD}{where}", message=f"{shown}{message}")
    for i in described:
        yield from _capability_problems(i, parameters[i], algorithm)


def _nothing_to_search(algorithm: AlgorithmDescription | None) -> str:
    wanted = sorted(algorithm.searches) if algorithm is not None else ()
    hint = f"; the algorithm {algorithm.name} searches {' or '.join(wanted)}" if algorithm else ""
    return f"spec.parameters or spec.nasConfig must be specified{hint}"


def search_problems(
    spec: ExperimentSpec,
    algorithm: AlgorithmDescription | None,
    settings: Sequence[tuple[str, str]],
    nas: NasConfig | None,
) -> Iterator[Problem]:
    """What the algorithm says to the whole; nothing while a part is wrong by itself."""
    parameters = tuple(kernel_parameter(parameter) for parameter in spec.parameters or ())
    if algorithm is None or not (parameters or spec.nas_config):
        return
    if space_rules.problems_of(parameters) or check_settings(algorithm, settings):
        return
    submission = Submission(
        parameters=parameters,
        settings=read_settings(algorithm, settings),
        parallel_trial_count=spec.parallel_trial_count or DEFAULT_PARALLEL_TRIAL_COUNT,
        max_trial_count=spec.max_trial_count,
        nas=nas,
        names=_assignment_names(spec) if nas is not None else tuple(p.name for p in parameters),
    )
    try:
        yield from _checked(algorithm, submission)
    except Exception as error:  # noqa: BLE001 - somebody else's algorithm: its fault is its answer
        message = f"the algorithm {algorithm.name} failed: {type(error).__name__}: {error}"
        yield Problem(field="spec.algorithm", message=message)


def _checked(algorithm: AlgorithmDescription, submission: Submission) -> list[Problem]:
    problems: list[object] = list(algorithm.check(submission))
    found = [it for it in problems if isinstance(it, Problem)]
    if len(found) < len(problems):
        raise TypeError("its check yields something that is no Problem")
    return found


def _assignment_names(spec: ExperimentSpec) -> tuple[str, ...]:
    """See the kernel's specification: what the template refers to, except the trial itself."""
    template = spec.trial_template
    given = (template.trial_parameters if template is not None else None) or ()
    references = [it.reference or "" for it in given]
    return tuple(name for name in references if name and not name.startswith("${"))


_OF_SPACE = tuple(f".feasibleSpace.{name}" for name in ("min", "max", "step", "list"))


def kernel_parameter(parameter: ParameterSpec) -> Parameter:
    """The parameter as the kernel has it. What is missing is empty."""
    space = parameter.feasible_space or FeasibleSpace()
    return Parameter(
        name=parameter.name or "",
        type=parameter.parameter_type or "",
        min=space.min or "",
        max=space.max or "",
        step=space.step or "",
        list=tuple(space.list or ()),
        distribution=space.distribution or "uniform",
    )


def _is_bare(parameter: ParameterSpec) -> bool:
    """No feasible space, or one with nothing but its default distribution."""
    space = parameter.feasible_space
    return space is None or not (space.min or space.max or space.step or space.list)


def _nothing_given(where: str, parameter: ParameterSpec) -> Problem:
    space = parameter.feasible_space
    if space is not None and space.list is not None and parameter.parameter_type in _LISTED:
        return Problem(field=f"{where}.list", message="is empty: it needs at least one value")
    return Problem(field=where, message="must be specified")


def _capability_problems(
    i: int, parameter: ParameterSpec, algorithm: AlgorithmDescription | None
) -> Iterator[Problem]:
    type_ = parameter.parameter_type or ""
    distribution = (parameter.feasible_space or FeasibleSpace()).distribution or "uniform"
    where = f"{_FIELD}[{i}].feasibleSpace.distribution"
    if distribution == "unknown":  # 39
        yield Problem(field=where, message=f"must be one of {_one_of(_DISTRIBUTIONS)}")
        return
    if distribution not in _DISTRIBUTIONS or type_ not in space_rules.PARAMETER_TYPES:
        return  # said already
    if type_ in _LISTED and distribution != "uniform":
        yield Problem(field=where, message=f"{distribution} is not supported for a {type_} list")
    elif algorithm is None:
        return
    elif distribution not in algorithm.distributions and type_ not in _LISTED:
        known = f"it supports {_one_of(sorted(algorithm.distributions))}"
        message = f"the algorithm {algorithm.name} does not support {distribution}; {known}"
        yield Problem(field=where, message=message)
    if algorithm is not None and type_ not in algorithm.parameter_types:
        known = f"it supports {_one_of(sorted(algorithm.parameter_types))}"
        message = f"the algorithm {algorithm.name} does not support {type_}; {known}"
        yield Problem(field=f"{_FIELD}[{i}].parameterType", message=message)


_DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")


def _one_of(names: Sequence[str]) -> str:
    return ", ".join(names)
