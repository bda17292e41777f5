"""DARTS: the search goes on within the trial; the algorithm hands it what to search, and how."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trialbus.kernel.catalogue import AlgorithmDescription, Setting, Submission
from trialbus.kernel.errors import Problem
from trialbus.kernel.spec import NasOperation

SKIP = "skip_connection"
# Beside the skip: operations with one parameter, the sizes of their windows.
SIZED_OPERATIONS = (
    "separable_convolution",
    "dilated_convolution",
    "avg_pooling",
    "max_pooling",
)
ASSIGNMENTS = ("algorithm-settings", "search-space", "num-layers")
# In Katib's order and types, because that is the text that its trials are given.
DEFAULTS: Mapping[str, int | float] = {
    "num_epochs": 50,
    "w_lr": 0.025,
    "w_lr_min": 0.001,
    "w_momentum": 0.9,
    "w_weight_decay": 3e-4,
    "w_grad_clip": 5.0,
    "alpha_lr": 3e-4,
    "alpha_weight_decay": 1e-3,
    "batch_size": 128,
    "num_workers": 4,
    "init_channels": 16,
    "print_step": 50,
    "num_nodes": 4,
    "stem_multiplier": 3,
}


def check_darts(submission: Submission) -> Iterator[Problem]:
    """Katib's rules, and what its trial would fail at."""
    for name in sorted(set(submission.names) - set(ASSIGNMENTS)):
        yield Problem(
            field="spec.trialTemplate.trialParameters",
            message=f"darts gives no {name}, only {', '.join(ASSIGNMENTS)}",
        )
    if "search-space" not in submission.names:
        yield Problem(
            field="spec.trialTemplate.trialParameters",
            message="no parameter refers to search-space: trials would not know what to search",
        )
    operations = submission.nas.operations if submission.nas is not None else ()
    seen: set[str] = set()
    for i, operation in enumerate(operations):
        where = f"spec.nasConfig.operations[{i}]"
        problems = list(_operation_problems(operation, where))
        yield from problems
        for name in () if problems else primitives_of(operation):
            if name in seen:
                yield Problem(field=where, message=f"{name} is there twice")
            seen.add(name)


def primitives_of(operation: NasOperation) -> tuple[str, ...]:
    """An operation as trials know it, once for each size of its window."""
    if operation.type == SKIP:
        return (SKIP,)
    sizes = operation.parameters[0].list
    return tuple(f"{operation.type}_{size}x{size}" for size in sizes)


def _operation_problems(operation: NasOperation, where: str) -> Iterator[Problem]:
    if operation.type == SKIP:
        return
    if operation.type not in SIZED_OPERATIONS:
        known = ", ".join((*SIZED_OPERATIONS, SKIP))
        yield Problem(
            field=f"{where}.operationType",
            message=f"darts knows no operation {operation.type}; it knows {known}",
        )
    if len(operation.parameters) != 1:
        message = "must hold one parameter: the sizes of the operation's window"
        yield Problem(field=f"{where}.parameters", message=message)
        return
    [parameter] = operation.parameters
    if parameter.type not in ("categorical", "discrete"):
        message = f"{parameter.type} is not supported: list the sizes, as categorical or discrete"
        yield Problem(field=f"{where}.parameters[0].parameterType", message=message)
    for size in parameter.list:
        if not (size.isascii() and size.isdecimal() and int(size) % 2 == 1):
            yield Problem(
                field=f"{where}.parameters[0].feasibleSpace.list",
                message=f"{size}: a window has an odd whole number of pixels on each side",
            )


def _number(name: str, kind: Any, least: float, words: str, meaning: str) -> Setting:
    return Setting(
        name=name,
        kind=kind,
        default=DEFAULTS[name],
        check=_at_least(least),
        message=f"{name} should be {words}",
        meaning=meaning,
    )


def _at_least(least: float) -> Callable[[Any], bool]:
    return lambda value: math.isfinite(value) and value >= least


def _is_batch_size(text: Any) -> bool:
    return text == "None" or (text.isascii() and text.isdecimal() and int(text) >= 1)


_POSITIVE = "greater than zero"
_NOT_NEGATIVE = "greater than or equal to zero"
_AT_LEAST_ONE = "greater than or equal to one"

DARTS = AlgorithmDescription(
    name="darts",
    settings=(
        _number("num_epochs", "int", 1, _POSITIVE, "How often the search sees all images."),
        _number("w_lr", "float", 0, _NOT_NEGATIVE, "First learning rate of the weights."),
        _number("w_lr_min", "float", 0, _NOT_NEGATIVE, "Their last one; between them a cosine."),
        _number("w_momentum", "float", 0, _NOT_NEGATIVE, "Momentum of the weights."),
        _number("w_weight_decay", "float", 0, _NOT_NEGATIVE, "Weight decay of the weights."),
        _number("w_grad_clip", "float", 0, _NOT_NEGATIVE, "Longest gradient of the weights."),
        _number("alpha_lr", "float", 0, _NOT_NEGATIVE, "Learning rate of the architecture."),
        _number(
            "alpha_weight_decay", "float", 0, _NOT_NEGATIVE, "Weight decay of the architecture."
        ),
        Setting(
            name="batch_size",
            kind="str",
            default=str(DEFAULTS["batch_size"]),
            check=_is_batch_size,
            message="batch_size should be greater than or equal to one",
            meaning="Images of a step; `None`: what the trial thinks best.",
        ),
        _number("num_workers", "int", 0, _NOT_NEGATIVE, "Processes that load images."),
        _number("init_channels", "int", 1, _AT_LEAST_ONE, "Channels of the first cell."),
        _number("print_step", "int", 1, _AT_LEAST_ONE, "Steps between two lines of progress."),
        _number("num_nodes", "int", 1, _AT_LEAST_ONE, "Intermediate nodes of a cell."),
        _number(
            "stem_multiplier",
            "int",
            1,
            _AT_LEAST_ONE,
            "Channels of the stem, as a multiple of `init_channels`.",
        ),
    ),
    check=check_darts,
    look_ahead="free",
    searches=frozenset({"architectures"}),
    gives=ASSIGNMENTS,
    implementation="trialbus_suggestion.core.darts:Darts",
    meaning="Differentiable architecture search (Liu, Simonyan, Yang 2019): each trial trains one "
    "network that holds all architectures, and ends with the best one as text, its genotype. The "
    "algorithm gives every trial the same search.",
)
