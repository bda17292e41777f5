"""How algorithms and stopping rules describe themselves: names, settings, what they can take.

Descriptions are light: they load in every service; the code behind them loads on first use.
Messages are Katib's, word for word, where Katib has one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trialbus.kernel.errors import Problem
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import NasConfig

SettingKind = Literal["int", "float", "bool", "str"]
SettingValue = int | float | bool | str
LookAhead = Literal["free", "pending", "none"]
WarmStart = Literal["learns", "ignores", "refuses"]
SearchKind = Literal["parameters", "architectures"]

# Names that Katib's own installation knows: a user of one that is missing is told that.
KATIB_ALGORITHMS = (
    "bayesianoptimization", "cmaes", "darts", "enas", "grid", "hyperband", "multivariate-tpe",
    "pbt", "random", "sobol", "tpe",
)  # fmt: skip
KATIB_STOPPING_RULES = ("medianstop",)


def _anything(_value: Any) -> bool:
    return True


def _agreed(_values: Mapping[str, SettingValue]) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `check` takes the parsed value; `message` is what to say when it is wrong,
    where {value} stands for the user's text.

    `default` None: the setting is simply absent when not given, or must be given if `required`.
    """

    name: str
    kind: SettingKind
    default: SettingValue | None = None
    check: Callable[[Any], bool] = _anything
    message: str = ""
    required: bool = False
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingRuleDescription:
    """`implementation`, `any_settings`: as of an algorithm. `wrong_together`: what is wrong with
    values that are right one by one."""

    name: str
    settings: tuple[Setting, ...] = ()
    implementation: str = ""
    any_settings: bool = False
    wrong_together: Callable[[Mapping[str, SettingValue]], str | None] = _agreed
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What an algorithm would search: valid parameters, its settings as read, the trial counts
    (max_trial_count None: no limit). nas: of an architecture search; names: of the values that
    its template asks for."""

    parameters: tuple[Parameter, ...]
    settings: Mapping[str, SettingValue]
    parallel_trial_count: int
    max_trial_count: int | None
    nas: NasConfig | None = None
    names: tuple[str, ...] = ()


def _fits(_submission: Submission) -> Iterable[Problem]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmDescription:
    """`look_ahead`: may points be drawn before earlier results are known? `free`: results are not
    looked at; `pending`: at most `parallelTrialCount` ahead, treated as running; `none`: never.

    `implementation`: `module:attribute`, imported on first use.
    `heavy`: it computes for long or loads large libraries, so it runs in a process of its own.
    `searches`: `parameters` of `spec.parameters`, `architectures` of `spec.nasConfig`, or either.
    `gives`: of an architecture search, the names of the values that its points can hold.
    `any_settings`: settings beside those named here are taken as they are, because who computes
    checks them: an algorithm on another server.
    `resource_setting`: the setting that names the parameter whose values the algorithm sets itself,
    even beyond its feasible space: the epochs of a rung, for instance.
    `warm_start`: what it does with trials of another experiment. `learns`: they are its history's
    first points, without marks, all of them finished; `ignores`: it does not look at results.
    `check`: every problem that only settings, space and counts together show; asked when each is
    right on its own. Fields are those of the experiment: `spec.parameters[0].feasibleSpace.step`.
    """

    name: str
    settings: tuple[Setting, ...] = ()
    check: Callable[[Submission], Iterable[Problem]] = _fits
    look_ahead: LookAhead = "none"
    parameter_types: frozenset[str] = frozenset()
    distributions: frozenset[str] = frozenset()
    implementation: str = ""
    heavy: bool = False
    searches: frozenset[SearchKind] = frozenset({"parameters"})
    gives: tuple[str, ...] = ()
    any_settings: bool = False
    resource_setting: str = ""
    warm_start: WarmStart = "refuses"
    meaning: str = ""


Description = AlgorithmDescription | StoppingRuleDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything that is installed, by name."""

    algorithms: Mapping[str, AlgorithmDescription]
    stopping_rules: Mapping[str, StoppingRuleDescription]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingProblem:
    """What is wrong with a setting, and which of those given (None: it was not given)."""

    index: int | None
    message: str

    def __str__(self) -> str:
        return self.message


def check_settings(
    description: Description, given: Sequence[tuple[str, str]]
) -> list[SettingProblem]:
    """Every problem of the settings as the user wrote them, in their order; empty if right."""
    known = {setting.name: setting for setting in description.settings}
    problems = []
    for index, (name, text) in enumerate(given):
        if description.any_settings and name not in known:
            continue
        message = _problem(known.get(name), name, text, description.name)
        if message is not None:
            problems.append(SettingProblem(index=index, message=message))
    names = {name for name, _ in given}
    problems += [
        SettingProblem(index=None, message=setting.message or f"{setting.name} must be set.")
        for setting in description.settings
        if setting.required and setting.name not in names
    ]
    if not problems and isinstance(description, StoppingRuleDescription):
        message = _wrong_together(description, read_settings(description, given))
        problems += [] if message is None else [SettingProblem(index=None, message=message)]
    return problems


def _wrong_together(
    description: StoppingRuleDescription, values: Mapping[str, SettingValue]
) -> str | None:
    try:
        return description.wrong_together(values)
    except Exception as exc:  # noqa: BLE001 - as in `_problem`
        return f"the stopping rule {description.name} failed: {type(exc).__name__}: {exc}"


def read_settings(
    description: Description, given: Sequence[tuple[str, str]]
) -> Mapping[str, SettingValue]:
    """The values to work with: those given (of a repeated name the last, as Katib has it), then
    the defaults. `given` must have passed `check_settings`; else raises ValueError or KeyError."""
    known = {setting.name: setting for setting in description.settings}
    values = {
        setting.name: setting.default
        for setting in description.settings
        if setting.default is not None
    }
    others_are_texts = description.any_settings
    return values | {
        name: text if others_are_texts and name not in known else _parse(known[name].kind, text)
        for name, text in given
    }


def _problem(setting: Setting | None, name: str, text: str, owner: str) -> str | None:
    if setting is None:
        return f"unknown setting {name} for algorithm {owner}"
    try:
        value = _parse(setting.kind, text)
    except ValueError as exc:
        return f"failed to validate {name}({text}): {exc}"
    try:
        if setting.check(value):
            return None
    except Exception as exc:  # noqa: BLE001 - somebody else's check: its fault is its answer
        return f"failed to validate {name}({text}): {type(exc).__name__}: {exc}"
    return (setting.message or f"{name} has a wrong value: {{value}}").replace("{value}", text)


def _parse(kind: SettingKind, text: str) -> SettingValue:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        if text.strip().lower() not in ("true", "false"):
            raise ValueError(f"neither true nor false: {text!r}")
        return text.strip().lower() == "true"
    return text
