"""Trials by name alone."""

import pytest

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.kernel.errors import NotThere
from trialbus.kernel.ids import trial_name
from trialbus.runtime.named_trials import NamedTrials
from trialbus.testkit.still_world import UID, StillWorld, experiment


async def world() -> tuple[StillWorld, str]:
    """One experiment whose trials have no documents; the name of trial 0."""
    found = StillWorld()
    await found.prepare(experiment(1))
    [document] = (await found.store.client("test").get_many(EXPERIMENTS.name, [UID])).values()
    assert document["open"].keys() == {"0"}
    return found, trial_name(document["name"], UID, 0)


async def test_one_without_a_document_yet_is_found_by_its_experiment() -> None:
    still, name = await world()
    found = await NamedTrials(still.parts().store).find(name)
    assert (found.uid, found.index, found.attempt, found.ended) == (UID, 0, 1, False)
    assert (found.name, found.written) == (name, False)


@pytest.mark.parametrize("name", ["tune", "tune-", "-", "none-aaaaaaaa", "tune-aaaaaaaa"])
async def test_one_that_was_never_opened_is_not_there(name: str) -> None:
    still, _ = await world()
    with pytest.raises(NotThere, match="there is no trial"):
        await NamedTrials(still.parts().store).find(name)
