"""Imports under crashes of the experiment service: every trial once, counted once."""

from dataclasses import replace

import pytest

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.documents import EXPERIMENT, TRIAL
from trialbus.contracts.envelope import CommandReply
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.testkit.law_probes import InSteadyState
from trialbus.testkit.scenario import FAIR, NAMESPACE, Machine, experiment_object
from trialbus.testkit.world import Weather, World

STORY = replace(FAIR, names=(), limit_s=2000.0, weather=Weather(repeat=0.1, late=0.2))
_PORTIONS, _EACH = 6, 20


@pytest.mark.parametrize("seed", range(6))
def test_every_trial_is_there_once_and_counted_once(
    in_steady_state: InSteadyState, seed: int
) -> None:
    async def act(world: World, _machines: list[Machine]) -> None:
        made = experiment_object("old", 1, FAIR)
        del made["spec"]["maxTrialCount"]
        made["metadata"]["annotations"] = {"trialbus.io/trials-by": "import"}
        await say(world, Command(id="create", object=made), Verb.APPLY)
        for number in range(_PORTIONS):
            world.doom("experiment", calls=(seed + 5 * number) % 9, away_s=0.5)
            await say(world, portion(number), Verb.IMPORT)
        [state] = [EXPERIMENT.decode(it) for it in world.store.documents("experiments")]
        trials = [TRIAL.decode(it) for it in world.store.documents("trials")]
        every = _PORTIONS * _EACH
        assert state.phase is ExperimentPhase.SUCCEEDED
        assert (state.finished, state.counts.succeeded, state.next_index) == (every,) * 3
        assert sorted((it.index, it.finished, it.value) for it in trials) == [
            (i, i + 1, float(i)) for i in range(every)
        ]
        assert world.faults >= 3

    in_steady_state(act, story=STORY)


def portion(number: int) -> Command:
    first = number * _EACH
    trials = [{"parameters": {"x": 0.5}, "value": float(i)} for i in range(first, first + _EACH)]
    told = {"first": first, "trials": trials, "last": number == _PORTIONS - 1}
    return Command(id=f"portion-{number}", portion=told)


async def say(world: World, command: Command, verb: Verb) -> None:
    reply = await world.command(subjects.command(NAMESPACE, "old", verb.value), command.to_bytes())
    assert CommandReply.from_bytes(reply).accepted, reply
