"""The libraries that ours are compared with, as their documentation says they are used.

Numbers in a list are told to them as whole numbers (positions in order), so that they may use the
order as ours do.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from loadtests.quality.entrants import Entrant, Parameters, packaged
from loadtests.quality.tasks import Assignments
from trialbus.kernel.axes import Choices
from trialbus.kernel.space import Parameter, axis_of

OPTUNA = "optuna"


class Coded:
    """Between a library's values and texts: positions for lists, numbers as they are."""

    def __init__(self, parameters: Parameters) -> None:
        self._choices = {
            parameter.name: axis.texts
            for parameter in parameters
            if isinstance(axis := axis_of(parameter), Choices) and axis.is_numeric
        }

    def positions(self, name: str) -> int | None:
        """How many values an ordered list has; None: it is no such parameter."""
        return len(self._choices[name]) if name in self._choices else None

    def text(self, name: str, value: Any) -> str:
        if name in self._choices:
            return self._choices[name][int(value)]
        if isinstance(value, str):
            return value
        return repr(value.item() if hasattr(value, "item") else value)


class Optuna:
    """`study.ask` and `study.tell` with a sampler, in memory."""

    def __init__(
        self, sampler_of: Callable[[Any, int], Any], parameters: Parameters, seed: int
    ) -> None:
        import optuna  # noqa: PLC0415 (only .venv/bench has it)

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._coded = Coded(parameters)
        self._study = optuna.create_study(sampler=sampler_of(optuna.samplers, seed))
        self._distributions = {
            p.name: _distribution(optuna.distributions, p, self._coded.positions(p.name))
            for p in parameters
        }
        self._trials: list[Any] = []

    def ask(self) -> Assignments:
        trial = self._study.ask(self._distributions)
        self._trials.append(trial)
        return {name: self._coded.text(name, value) for name, value in trial.params.items()}

    def tell(self, index: int, loss: float) -> None:
        self._study.tell(self._trials[index], loss)


class Skopt:
    """`skopt.Optimizer` with nothing but the space and the seed; one point at a time: asked again
    before it was told it gives the same point, and its liar takes whole batches only."""

    def __init__(self, parameters: Parameters, seed: int) -> None:
        import skopt  # noqa: PLC0415 (slow to load)

        self._coded = Coded(parameters)
        self._names = [parameter.name for parameter in parameters]
        dimensions = [_dimension(skopt.space, p, self._coded.positions(p.name)) for p in parameters]
        self._optimizer = skopt.Optimizer(dimensions, random_state=seed)
        self._points: list[list[Any]] = []

    def ask(self) -> Assignments:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self._points.append(self._optimizer.ask())
        named = zip(self._names, self._points[-1], strict=True)
        return {name: self._coded.text(name, value) for name, value in named}

    def tell(self, index: int, loss: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optimizer.tell(self._points[index], loss)


def peers() -> list[Entrant]:
    return [
        _optuna("optuna-tpe", lambda samplers, seed: samplers.TPESampler(seed=seed)),
        _optuna(
            "optuna-tpe-univariate",
            lambda samplers, seed: samplers.TPESampler(seed=seed, multivariate=False),
        ),
        _optuna("optuna-gp", lambda samplers, seed: samplers.GPSampler(seed=seed), "torch"),
        _optuna(
            "optuna-cmaes",
            lambda samplers, seed: samplers.CmaEsSampler(seed=seed),
            "cmaes",
            takes=_is_numeric,
        ),
        Entrant(
            name="scikit-optimize",
            version=lambda: packaged("scikit-optimize", "scikit-learn"),
            takes=lambda _: True,
            create=Skopt,
            needs=("skopt",),
            in_flight=False,
        ),
    ]


def _optuna(
    name: str,
    sampler_of: Callable[[Any, int], Any],
    *needs: str,
    takes: Callable[[Parameters], bool] = lambda _: True,
) -> Entrant:
    return Entrant(
        name=name,
        version=lambda: packaged(OPTUNA, *needs),
        takes=takes,
        create=partial(Optuna, sampler_of),
        needs=(OPTUNA, *needs),
    )


def _is_numeric(parameters: Parameters) -> bool:
    return all(parameter.type in {"double", "int"} for parameter in parameters)


def _distribution(distributions: Any, parameter: Parameter, positions: int | None) -> Any:
    is_log = parameter.distribution == "logUniform"
    if positions is not None:
        return distributions.IntDistribution(0, positions - 1)
    match parameter.type:
        case "double":
            low, high = float(parameter.min), float(parameter.max)
            return distributions.FloatDistribution(low, high, log=is_log)
        case "int":
            low, high = int(parameter.min), int(parameter.max)
            return distributions.IntDistribution(low, high, log=is_log)
        case _:
            return distributions.CategoricalDistribution(parameter.list)


def _dimension(space: Any, parameter: Parameter, positions: int | None) -> Any:
    prior = "log-uniform" if parameter.distribution == "logUniform" else "uniform"
    if positions is not None:
        return space.Integer(0, positions - 1)
    match parameter.type:
        case "double":
            return space.Real(float(parameter.min), float(parameter.max), prior=prior)
        case "int":
            return space.Integer(int(parameter.min), int(parameter.max), prior=prior)
        case _:
            return space.Categorical(parameter.list)
