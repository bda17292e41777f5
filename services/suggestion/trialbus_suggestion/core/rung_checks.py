"""What the rung algorithms say to a whole submission. Loaded by every service."""

from collections.abc import Iterator, Mapping

from trialbus.kernel.catalogue import SettingValue, Submission
from trialbus.kernel.errors import Problem
from trialbus_suggestion.core.rung_scale import Scale, exact

_SETTINGS = "spec.algorithm.algorithmSettings"


def check_rungs(submission: Submission) -> Iterator[Problem]:
    """Of hyperband and async-hyperband; any `parallelTrialCount` will do (Katib wants at least as
    many as the first rung has trials)."""
    settings = submission.settings
    if "r_l" not in settings or "resource_name" not in settings:
        yield Problem(field=_SETTINGS, message="r_l and resource_name must be set.")
        return
    yield from _resource_problems(submission, str(settings["resource_name"]))
    if exact(settings["r_l"]) < exact(settings["r_min"]):
        yield Problem(field=_SETTINGS, message=_too_small(settings))


def check_asha(submission: Submission) -> Iterator[Problem]:
    problems = list(check_rungs(submission))
    yield from problems
    if problems:
        return
    top = Scale.of(submission.settings).top
    if int(submission.settings["s"]) > top:
        message = f"s must be less or equal than {top}: r_min * eta^s must not be above r_l"
        yield Problem(field=_SETTINGS, message=message)


def _too_small(settings: Mapping[str, SettingValue]) -> str:
    r_l, r_min = settings["r_l"], settings["r_min"]
    return f"r_l must not be less than r_min, the resource of the first rung: {r_l} < {r_min}"


def _resource_problems(submission: Submission, name: str) -> Iterator[Problem]:
    found = next((it for it in submission.parameters if it.name == name), None)
    if found is None:
        message = "value of resource_name setting must be in parameters."
        yield Problem(field=_SETTINGS, message=message)
    elif found.type not in ("int", "double"):
        message = f"the resource parameter {name} must be an int or a double, not {found.type}"
        yield Problem(field=_SETTINGS, message=message)
    elif found.type == "int" and exact(submission.settings["r_min"]) < 1:
        message = f"r_min must be at least one (>=1), for the resource parameter {name} is an int"
        yield Problem(field=_SETTINGS, message=message)
