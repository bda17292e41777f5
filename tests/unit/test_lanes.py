"""Turns of worker processes: who holds one, and who is only about to begin."""

import asyncio
import threading

import pytest

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import Proposal, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus_suggestion.adapters import lanes as adapter
from trialbus_suggestion.adapters.lanes import Lanes
from trialbus_suggestion.core.catalogue import BUILT_IN

QUESTION = (
    "uid",
    Study(
        parameters=(Parameter(name="x", type="int", min="0", max="9"),),
        objective=ObjectiveType.MINIMIZE,
        algorithm=AlgorithmSpec(name="tpe"),
    ),
    ProposalRequest(number=1, first=0, count=1, watermark=0, seed=1),
    None,
)


async def test_what_has_just_been_asked_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def answer(*_: object) -> tuple[Proposal, float]:
        assert gate.wait(10.0)
        return Proposal(points=()), 0.0

    monkeypatch.setattr(adapter, "_ask_in_thread", answer)
    lanes = Lanes(BUILT_IN, frozenset({"tpe"}), 4)
    lane = lanes.of("uid", "tpe")
    # Its last question was long ago, and its thread has not yet taken up this one.
    lane.began = -1000.0
    asked = asyncio.create_task(lanes.ask(lane, QUESTION, 60.0))
    await asyncio.sleep(0)
    assert not lane.is_held
    assert lanes.of("uid", "tpe") is lane
    gate.set()
    assert await asked == Proposal(points=())
    await lanes.close()
