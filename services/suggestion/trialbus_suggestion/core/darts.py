"""Differentiable architecture search, as Katib has it: the trial searches.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019. What is proposed is
the task, in the three texts that Katib's trial images read.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.proposals import (
    FinishedTrial,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.spec import NasConfig
from trialbus.kernel.suggestion import Mark
from trialbus_suggestion.core.descriptions.darts import DEFAULTS, primitives_of

if TYPE_CHECKING:
    from random import Random


class Darts:
    """Every trial is given the same search, however many are asked for; what differs between two
    of them is their own seed, which they make of their names."""

    def __init__(self, study: Study) -> None:
        if study.nas is None:
            raise Refused([Problem(field="spec.nasConfig", message="darts searches it")])
        texts = assignments(study.nas, study.algorithm.settings)
        self._point = tuple(texts[name] for name in study.names)

    def restore(self, _points: Sequence[PointTexts], _marks: Sequence[Mark] = (), /) -> None:
        """All points are the same."""

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Nothing to learn: a result is a finished search."""

    def propose(self, request: ProposalRequest, _rng: "Random") -> Proposal:
        return Proposal(points=(self._point,) * request.count)


def assignments(nas: NasConfig, settings: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """What trials are given, by name, to the letter as Katib's darts service writes it."""
    space = [name for operation in nas.operations for name in primitives_of(operation)]
    given = {name: None if text == "None" else text for name, text in settings}
    return {
        "algorithm-settings": _quoted({**DEFAULTS, **given}),
        "search-space": _quoted(space),
        "num-layers": str(nas.num_layers),
    }


def _quoted(value: object) -> str:
    """JSON with ' for ", so that it stands between double quotes in a command."""
    return json.dumps(value).replace('"', "'")
