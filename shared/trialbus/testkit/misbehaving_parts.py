"""Algorithms and a stopping rule that misbehave, as packages of somebody else bring them."""

import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from trialbus.kernel.catalogue import AlgorithmDescription, StoppingRuleDescription
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, Proposal, ProposalRequest, Study
from trialbus.kernel.suggestion import Mark
from trialbus_early_stopping.core.evidence import Verdict
from trialbus_early_stopping.core.rule import Curve, Settings, StoppingRule

BURNS_S = 0.3


class Slow:
    """Points at random, at the price of a model's."""

    def __init__(self, study: Study) -> None:
        """Nothing to remember."""

    def restore(self, points: Sequence[PointTexts], marks: Sequence[Mark] = (), /) -> None:
        """Nothing to remember."""

    def tell(self, finished: Sequence[FinishedTrial]) -> None:
        """Nothing to learn."""

    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:
        points = []
        for _ in range(request.count):
            until = time.monotonic() + BURNS_S
            while time.monotonic() < until:
                pass
            points.append((repr(rng.random()),))
        return Proposal(points=tuple(points))


class Broken(Slow):
    def propose(self, request: ProposalRequest, rng: Random) -> Proposal:  # noqa: ARG002 - its port
        raise ArithmeticError("no model of this")


class BrokenRule(StoppingRule):
    def __init__(self, settings: Settings, objective: ObjectiveType) -> None:  # noqa: ARG002
        super().__init__(objective)

    def judge(self, curve: Curve, step: int) -> Verdict | None:  # noqa: ARG002 - its port
        raise ArithmeticError("no rule for this")


def _description(name: str, cls: type[Slow]) -> AlgorithmDescription:
    return AlgorithmDescription(
        name=name,
        meaning="misbehaves",
        implementation=f"{__name__}:{cls.__name__}",
        look_ahead="pending",
        parameter_types=frozenset({"double"}),
        distributions=frozenset({"uniform"}),
    )


SLOW, BROKEN = _description("slow", Slow), _description("broken", Broken)
BROKEN_RULE = StoppingRuleDescription(
    name="broken-rule", meaning="misbehaves", implementation=f"{__name__}:{BrokenRule.__name__}"
)
GROUPS = {
    "trialbus.algorithms": {"slow": f"{__name__}:SLOW", "broken": f"{__name__}:BROKEN"},
    "trialbus.stopping_rules": {"broken-rule": f"{__name__}:BROKEN_RULE"},
}


def install(library: Path) -> None:
    """What installing them as a package would leave in a folder on the import path."""
    metadata = library / "misbehaving-0.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 0.0.0\n")
    lines = []
    for group, entries in GROUPS.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
