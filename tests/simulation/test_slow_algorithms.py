"""Algorithms that take their time, up to more than a message waits for its answer: the laws hold
while crashes, suspensions and lost messages happen during their computing."""

from random import Random

import pytest

from trialbus.kernel.limits import ACK_WAIT_S
from trialbus.kernel.proposals import Proposal, ProposalRequest, Study
from trialbus.ports.compute import HistorySource
from trialbus.testkit.law_probes import Play
from trialbus.testkit.outcome_checks import check_outcome
from trialbus.testkit.scenario import Story
from trialbus.testkit.world import LoopClock
from trialbus_suggestion.adapters.compute import InlineCompute

STORY = Story(names=("plain", "hyperband"), trials=20, limit_s=20_000.0)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Experiments, each time that an answer of theirs is computed to its end."""
    done: list[str] = []
    rng, clock, at_once = Random(1), LoopClock(), InlineCompute.propose

    async def propose(
        self: InlineCompute,
        uid: str,
        study: Study,
        request: ProposalRequest,
        history: HistorySource,
    ) -> Proposal:
        await clock.sleep(rng.choice([0.0, 1.0, 1.5 * ACK_WAIT_S]))
        proposal = await at_once(self, uid, study, request, history)
        await clock.sleep(rng.choice([0.0, 1.0]))
        done.append(uid)
        return proposal

    monkeypatch.setattr(InlineCompute, "answers_at_once", lambda *_: False)
    monkeypatch.setattr(InlineCompute, "propose", propose)
    return done


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_meanwhile_the_laws_hold(
    seed: int, play: Play, computed: list[str]
) -> None:
    outcome = play(seed, STORY)
    check_outcome(outcome)
    for state in outcome.experiments:
        assert state.counts.closed == STORY.trials
        answers = [it for it in outcome.world.store.documents("answers") if it["uid"] == state.id]
        assert computed.count(state.id) >= len(answers) > 1
    assert outcome.world.bus.dead_letters == []
