"""Which trials of another experiment a new one begins with."""

from collections.abc import Sequence

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_WARM_TRIALS, MAX_WARM_VALUES
from trialbus.kernel.space import SearchSpace
from trialbus.kernel.spec import ExperimentSpec
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.kernel.warm_start import WarmTrial

FIELD = "metadata.annotations[trialbus.io/warm-start-from]"
# What ended otherwise may have been cut off, or was judged by something else than its objective.
_TELLING = frozenset({TrialPhase.SUCCEEDED, TrialPhase.EARLY_STOPPED})


def share_of(spec: ExperimentSpec) -> int:
    """Trials of each of its sources at most."""
    most = min(MAX_WARM_TRIALS, MAX_WARM_VALUES // max(1, len(spec.parameters)))
    return max(1, most // max(1, len(spec.warm_start_from)))


def check_source(spec: ExperimentSpec, name: str, source: Experiment) -> None:
    """Raises Refused: what it has found means something else."""
    wanted = {parameter.name for parameter in spec.parameters}
    there = {parameter.name for parameter in source.spec.parameters}
    problems = []
    if wanted != there:
        differ = ", ".join(sorted(wanted ^ there))
        problems.append(f"{name} has other parameters: {differ} (names must be the same)")
    if source.spec.objective.type is not spec.objective.type:
        problems.append(f"{name} was tuned to {source.spec.objective.type} its objective")
    if problems:
        raise Refused([Problem(field=FIELD, message=message) for message in problems])


def chosen(spec: ExperimentSpec, best: Sequence[Trial], newest: Sequence[Trial]) -> list[Trial]:
    """best, newest: each in its order, from the same trials. Half are the best, then the newest up
    to the share; in the order in which they ended."""
    share = share_of(spec)
    telling = [it for it in best if _tells(it)][: (share + 1) // 2]
    known = {trial.index for trial in telling}
    telling += [it for it in newest if _tells(it) and it.index not in known][: share - len(telling)]
    return sorted(telling, key=lambda trial: trial.finished or 0)


def fitting(spec: ExperimentSpec, trials: Sequence[Trial]) -> list[WarmTrial]:
    """Those within the space, their values as this experiment writes them."""
    space, fit = SearchSpace(spec.parameters), []
    for trial in trials:
        values = {it.name: it.value for it in trial.assignments}
        try:
            point = space.parse([values[parameter.name] for parameter in spec.parameters])
        except (ValueError, ArithmeticError):
            continue
        if trial.value is not None:
            fit.append(WarmTrial(point=space.key(point), value=trial.value))
    return fit


def _tells(trial: Trial) -> bool:
    return trial.phase in _TELLING and trial.value is not None and trial.value == trial.value
