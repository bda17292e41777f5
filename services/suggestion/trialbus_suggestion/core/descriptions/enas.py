"""ENAS: its settings, and what it is."""

import math

from trialbus.kernel.catalogue import AlgorithmDescription, Setting
from trialbus_suggestion.core.descriptions.shared_settings import DUPLICATES, RANDOM_STATE
from trialbus_suggestion.core.enas_checks import VALUES, check_enas

# The controller has twelve times the square of this in weights, and learns that much slower.
MAX_HIDDEN_SIZE = 256
MAX_TRAIN_STEPS = 10_000


def _number_of(name: str, default: int, most: int, meaning: str) -> Setting:
    return Setting(
        name=name,
        kind="int",
        default=default,
        check=lambda value: bool(1 <= value <= most),
        message=f"Algorithm Setting {name}: {{value}} with int type must be in range [1, {most}]",
        meaning=meaning,
    )


def _range_of(name: str, default: float, most: float, meaning: str) -> Setting:
    return Setting(
        name=name,
        kind="float",
        default=default,
        check=lambda value: bool(0 < value <= most and math.isfinite(value)),
        message=_out_of(name, most),
        meaning=meaning,
    )


def _range_or_none(name: str, default: str, meaning: str) -> Setting:
    """A number above 0, or `None`, which turns it off."""
    return Setting(
        name=name,
        kind="str",
        default=default,
        check=_positive_or_none,
        message=_out_of(name, math.inf),
        meaning=f"{meaning} `None`: without.",
    )


def _out_of(name: str, most: float) -> str:
    return f"Algorithm Setting {name}: {{value}} with float type must be in range (0.0, {most:.1f}]"


def _positive_or_none(text: str) -> bool:
    if text == "None":
        return True
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


ENAS = AlgorithmDescription(
    name="enas",
    settings=(
        _number_of(
            "controller_hidden_size", 64, MAX_HIDDEN_SIZE, "The size of the controller's LSTM."
        ),
        _range_or_none(
            "controller_temperature",
            "5.0",
            "The scores of decisions are divided by it: the higher, the more even they are.",
        ),
        _range_or_none(
            "controller_tanh_const",
            "2.25",
            "The scores become this times their tanh, so that no decision is ever quite certain.",
        ),
        _range_or_none(
            "controller_entropy_weight",
            "1e-05",
            "How much the entropy of decisions counts beside the rewards: the higher, the longer "
            "the controller explores.",
        ),
        _range_of(
            "controller_baseline_decay",
            0.999,
            1.0,
            "Of the moving average that rewards are compared with, for each gradient step.",
        ),
        _range_of(
            "controller_learning_rate",
            5e-5,
            1.0,
            "Of the controller's Adam. The default, Katib's, is for thousands of trials; with "
            "dozens take 0.0005.",
        ),
        _range_of(
            "controller_skip_target", 0.4, 1.0, "The share of skip connections that is aimed at."
        ),
        _range_or_none(
            "controller_skip_weight",
            "0.8",
            "How much the distance from that share counts beside the rewards.",
        ),
        _number_of(
            "controller_train_steps",
            50,
            MAX_TRAIN_STEPS,
            "Gradient steps after each result (from the fiftieth on after every second, from the "
            "hundredth on after every fourth, and so on), each on the next 16 results.",
        ),
        _number_of(
            "controller_log_every_steps",
            10,
            2**31,
            "Taken for Katib's sake; the controller does not log.",
        ),
        RANDOM_STATE,
        DUPLICATES,
    ),
    check=check_enas,
    look_ahead="none",
    implementation="trialbus_suggestion.core.enas:EnasSearch",
    heavy=True,
    searches=frozenset({"architectures"}),
    gives=VALUES,
    meaning="Efficient neural architecture search: a recurrent controller proposes networks, layer "
    "by layer, and learns by REINFORCE which of them are good; results of trials are its rewards. "
    "For spaces of layered networks with skip connections, where a trial takes seconds or more. "
    "Source: Pham, Guan, Zoph, Le and Dean 2018 (Efficient Neural Architecture Search via "
    "Parameter Sharing), the controller of its macro search; trials do not share weights, as in "
    "Katib.",
)
