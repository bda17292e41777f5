"""Four scikit-learn models on the data sets that it ships: real trainings, cross-validated."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from loadtests.quality.tasks import Assignments, Task
from trialbus.kernel.space import Parameter

FOLDS = 3
# Of the support vector machine's solver, which would take minutes in some corners.
MAX_STEPS = 20_000
# Of the 1,797 digits, so that an evaluation stays in tens of milliseconds.
DIGITS = 400
# What a point is worth at most: a training that fails or diverges.
WORST_LOSS = 20.0

_known: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}


def tasks() -> list[Task]:
    return [
        _task("svr-diabetes", SVR_SPACE, svr_on_diabetes),
        _task("boosting-breast-cancer", BOOSTING_SPACE, boosting_on_breast_cancer),
        _task("mlp-wine", MLP_SPACE, mlp_on_wine),
        _task("extra-trees-digits", TREES_SPACE, extra_trees_on_digits),
    ]


def _log(name: str, low: str, high: str) -> Parameter:
    return Parameter(name=name, type="double", min=low, max=high, distribution="logUniform")


def _int(name: str, low: int, high: int, distribution: str = "uniform") -> Parameter:
    return Parameter(name=name, type="int", min=str(low), max=str(high), distribution=distribution)


def _double(name: str, low: str, high: str) -> Parameter:
    return Parameter(name=name, type="double", min=low, max=high)


def _choice(name: str, *choices: str) -> Parameter:
    return Parameter(name=name, type="categorical", list=choices)


SVR_SPACE = (
    _log("C", "0.001", "1000"),
    _log("gamma", "1e-05", "1"),
    _log("epsilon", "0.001", "1"),
    _choice("kernel", "rbf", "poly", "sigmoid"),
    _int("degree", 2, 5),
    _double("coef0", "0", "1"),
)
BOOSTING_SPACE = (
    _int("n_estimators", 5, 30),
    _log("learning_rate", "0.01", "1"),
    _int("max_depth", 1, 4),
    _double("subsample", "0.3", "1"),
    _double("max_features", "0.05", "0.5"),
    _int("min_samples_leaf", 1, 30, "logUniform"),
)
MLP_SPACE = (
    _int("width", 2, 64, "logUniform"),
    Parameter(name="layers", type="discrete", list=("1", "2")),
    _log("learning_rate", "0.0001", "0.3"),
    _log("alpha", "1e-06", "1"),
    Parameter(name="batch_size", type="discrete", list=("16", "32", "64", "118")),
    _choice("activation", "relu", "tanh", "logistic"),
    _choice("solver", "adam", "sgd"),
    _double("momentum", "0.5", "0.99"),
)
TREES_SPACE = (
    _int("n_estimators", 2, 16),
    _int("max_depth", 1, 16),
    _int("min_samples_leaf", 1, 40, "logUniform"),
    _int("min_samples_split", 2, 40, "logUniform"),
    _double("max_features", "0.1", "1"),
    _choice("criterion", "gini", "entropy"),
    _choice("bootstrap", "true", "false"),
)


def svr_on_diabetes(a: Assignments) -> float:
    model = SVR(
        C=float(a["C"]),
        gamma=float(a["gamma"]),
        epsilon=float(a["epsilon"]),
        kernel=a["kernel"],
        degree=int(a["degree"]),
        coef0=float(a["coef0"]),
        max_iter=MAX_STEPS,
    )
    x, y = _diabetes()
    return _loss(make_pipeline(StandardScaler(), model), x, y, "r2", 1.0)


def boosting_on_breast_cancer(a: Assignments) -> float:
    model = GradientBoostingClassifier(
        n_estimators=int(a["n_estimators"]),
        learning_rate=float(a["learning_rate"]),
        max_depth=int(a["max_depth"]),
        subsample=float(a["subsample"]),
        max_features=float(a["max_features"]),
        min_samples_leaf=int(a["min_samples_leaf"]),
        random_state=0,
    )
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return _loss(model, x, y, "neg_log_loss", 0.0)


def mlp_on_wine(a: Assignments) -> float:
    model = MLPClassifier(
        hidden_layer_sizes=(int(a["width"]),) * int(a["layers"]),
        learning_rate_init=float(a["learning_rate"]),
        alpha=float(a["alpha"]),
        batch_size=int(a["batch_size"]),
        activation=a["activation"],
        solver=a["solver"],
        momentum=float(a["momentum"]),
        max_iter=15,
        random_state=0,
    )
    pipeline = make_pipeline(StandardScaler(), model)
    x, y = datasets.load_wine(return_X_y=True)
    return _loss(pipeline, x, y, "neg_log_loss", 0.0)


def extra_trees_on_digits(a: Assignments) -> float:
    model = ExtraTreesClassifier(
        n_estimators=int(a["n_estimators"]),
        max_depth=int(a["max_depth"]),
        min_samples_leaf=int(a["min_samples_leaf"]),
        min_samples_split=int(a["min_samples_split"]),
        max_features=float(a["max_features"]),
        criterion=a["criterion"],
        bootstrap=a["bootstrap"] == "true",
        random_state=0,
    )
    x, y = datasets.load_digits(return_X_y=True)
    return _loss(model, x[:DIGITS], y[:DIGITS], "neg_log_loss", 0.0)


def _diabetes() -> tuple[Any, Any]:
    """The disease's progress in standard deviations, so that SVR's epsilon means something."""
    x, y = datasets.load_diabetes(return_X_y=True)
    return x, (y - y.mean()) / y.std()


def _task(
    name: str, parameters: tuple[Parameter, ...], evaluate: Callable[[Assignments], float]
) -> Task:
    return Task(
        name=f"sklearn-{name}",
        group="scikit-learn",
        parameters=parameters,
        loss_of=lambda _seed: partial(_once, name, evaluate),
        has_known_best=False,
    )


def _once(name: str, evaluate: Callable[[Assignments], float], assignments: Assignments) -> float:
    """A training is a function of its point, so each point is trained once in a process."""
    key = (name, tuple(sorted(assignments.items())))
    if key not in _known:
        _known[key] = evaluate(assignments)
    return _known[key]


def _loss(model: Any, x: Any, y: Any, scoring: str, top: float) -> float:
    """`top` minus the mean score over fixed folds."""
    is_regression = scoring == "r2"
    kind = KFold if is_regression else StratifiedKFold
    folds = kind(n_splits=FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # Few epochs are part of the task, and a diverged training is judged by its loss.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            scores = cross_val_score(model, x, y, cv=folds, scoring=scoring, error_score="raise")
        except ValueError:
            return WORST_LOSS
    mean = float(np.mean(scores))
    # Rounded, so that equally good models are equal.
    return min(round(top - mean, 12), WORST_LOSS) if np.isfinite(mean) else WORST_LOSS
