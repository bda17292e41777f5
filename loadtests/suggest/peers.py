"""The libraries beside ours, used as their documentation says, in memory."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from loadtests.suggest.ours import Values, objective
from trialbus.kernel.space import Parameter

Parameters = tuple[Parameter, ...]


class Contestant(Protocol):
    """Ours and the peers: `tell` is of the point that was asked for last."""

    def prime(self, points: Sequence[Values]) -> None: ...

    def tell(self, point: Values) -> None: ...

    def ask(self) -> Values: ...


class Optuna:
    def __init__(
        self, sampler: Callable[[Any, int], Any], parameters: Parameters, seed: int
    ) -> None:
        import optuna  # noqa: PLC0415 (only .venv/bench has it)

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._optuna: Any = optuna
        self._parameters = parameters
        self._study = optuna.create_study(sampler=sampler(optuna.samplers, seed))
        self._distributions = {p.name: _distribution(optuna.distributions, p) for p in parameters}
        self._trial: Any = None

    def prime(self, points: Sequence[Values]) -> None:
        self._study.add_trials(
            [
                self._optuna.trial.create_trial(
                    params=dict(zip(self._distributions, point, strict=True)),
                    distributions=self._distributions,
                    value=objective(self._parameters, point),
                )
                for point in points
            ]
        )

    def tell(self, point: Values) -> None:
        if self._trial is not None:
            self._study.tell(self._trial, objective(self._parameters, point))

    def ask(self) -> Values:
        self._trial = self._study.ask(self._distributions)
        return tuple(self._trial.params[name] for name in self._distributions)


class Skopt:
    """`skopt.Optimizer` with nothing but the space and the seed."""

    def __init__(self, parameters: Parameters, seed: int) -> None:
        import skopt  # noqa: PLC0415 (slow to load)

        self._parameters = parameters
        dimensions = [_dimension(skopt.space, parameter) for parameter in parameters]
        self._optimizer = skopt.Optimizer(dimensions, random_state=seed)
        self._asked: list[Any] | None = None

    def prime(self, points: Sequence[Values]) -> None:
        losses = [objective(self._parameters, point) for point in points]
        self._tell([list(point) for point in points], losses)

    def tell(self, point: Values) -> None:
        if self._asked is not None:
            self._tell(self._asked, objective(self._parameters, point))

    def ask(self) -> Values:
        self._asked = self._optimizer.ask()
        return tuple(self._asked)

    def _tell(self, points: list[Any], losses: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optimizer.tell(points, losses)


def _tpe(samplers: Any, seed: int, **settings: bool) -> Any:
    return samplers.TPESampler(seed=seed, **settings)


PEERS: Mapping[str, Callable[[Parameters, int], Contestant]] = {
    "optuna random": partial(Optuna, lambda samplers, seed: samplers.RandomSampler(seed=seed)),
    "optuna qmc": partial(Optuna, lambda samplers, seed: samplers.QMCSampler(seed=seed)),
    "optuna cmaes": partial(Optuna, lambda samplers, seed: samplers.CmaEsSampler(seed=seed)),
    "optuna tpe": partial(Optuna, _tpe),
    "optuna tpe, univariate": partial(
        Optuna, partial(_tpe, multivariate=False, constant_liar=False)
    ),
    "scikit-optimize": Skopt,
}
MEANINGS = {
    "optuna random": "`RandomSampler`",
    "optuna qmc": "`QMCSampler`: Sobol'",
    "optuna cmaes": "`CmaEsSampler`",
    "optuna tpe": "`TPESampler` as it comes: multivariate, with a constant liar",
    "optuna tpe, univariate": "`TPESampler(multivariate=False, constant_liar=False)`: as it came "
    "before version 5",
    "scikit-optimize": "`Optimizer` as it comes",
}


def _distribution(distributions: Any, parameter: Parameter) -> Any:
    is_log = parameter.distribution == "logUniform"
    match parameter.type:
        case "double":
            low, high = float(parameter.min), float(parameter.max)
            return distributions.FloatDistribution(low, high, log=is_log)
        case "int":
            return distributions.IntDistribution(int(parameter.min), int(parameter.max))
        case _:
            return distributions.CategoricalDistribution(parameter.list)


def _dimension(space: Any, parameter: Parameter) -> Any:
    prior = "log-uniform" if parameter.distribution == "logUniform" else "uniform"
    match parameter.type:
        case "double":
            return space.Real(float(parameter.min), float(parameter.max), prior=prior)
        case "int":
            return space.Integer(int(parameter.min), int(parameter.max))
        case _:
            return space.Categorical(parameter.list)
