"""Which checkpoints and artifacts go: of trials that ended, and only once nobody needs them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.experiment import ExperimentPhase as Phase
from trialbus.kernel.objective import Objective, ObjectiveType
from trialbus.kernel.spec import ResumePolicy
from trialbus.kernel.suggestion import LookAhead
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.testkit.experiment_states import UID, experiment, opened, spec
from trialbus.testkit.still_world import HastyClock, StillWorld
from trialbus_trial_launcher.app.plans import Place
from trialbus_trial_launcher.app.pruning import Pruning
from trialbus_trial_launcher.core.kept import prunes_now, removable

FREE, NONE = LookAhead.FREE, LookAhead.NONE


def state(**changes: Any) -> Experiment:
    """Six trials have begun, 4 and 5 are open; the two best are kept."""
    fields: dict[str, Any] = {
        "open": opened(4, 5),
        "next_index": 6,
        "finished": 4,
        "look_ahead": FREE,
        **changes,
    }
    return experiment(spec(keep_best=2), **fields)


@pytest.mark.parametrize(
    ("changes", "spec_changes", "prunes"),
    [
        ({}, {}, True),
        ({}, {"keep_best": None}, False),
        ({"look_ahead": LookAhead.PENDING}, {}, True),
        # Any of its trials may still be gone on from.
        ({"look_ahead": NONE}, {}, False),
        ({"look_ahead": None}, {}, False),
        ({"look_ahead": NONE, "phase": Phase.SUCCEEDED}, {}, True),
        (
            {"look_ahead": NONE, "phase": Phase.SUCCEEDED},
            {"resume_policy": ResumePolicy.LONG_RUNNING},
            False,
        ),
    ],
)
def test_nothing_is_removed_while_it_may_be_gone_on_from(
    changes: dict[str, Any], spec_changes: dict[str, Any], prunes: bool
) -> None:
    seen = state(**changes)
    assert prunes_now(replace(seen, spec=replace(seen.spec, **spec_changes))) is prunes


def test_only_folders_of_ended_trials_go_and_none_that_is_called_otherwise() -> None:
    names = ["0", "1", "2", "3", "4", "5", "6", "1-again", "01", ".partial", "notes"]
    assert removable(state(), names, {1, 3}) == ["0", "2"]


def trial(index: int, value: float | None, phase: TrialPhase = TrialPhase.SUCCEEDED) -> Trial:
    return Trial(
        id=f"{UID}.{index}",
        uid=UID,
        version=2,
        namespace="ns",
        experiment="exp",
        index=index,
        name=f"exp-{index}",
        phase=phase,
        assignments=(),
        conditions=(),
        created_at=0.0,
        finished=index + 1,
        value=value,
    )


@dataclass
class Folders:
    """What lies below the roots, as the launcher tells and removes it."""

    there: dict[str, set[str]] = field(default_factory=dict)
    emptied: list[str] = field(default_factory=list)

    async def names_in(self, folder: str) -> Sequence[str]:
        return sorted(self.there.get(folder, ()))

    async def forget_checkpoints(self, folder: str) -> None:
        parent, _, name = folder.rpartition("/")
        self.there[parent].discard(name)

    async def drop_empty(self, folders: Sequence[str]) -> None:
        self.emptied += folders


PLACE = Place(
    host="here",
    boot_id="boot",
    runs_folder="/r",
    checkpoint_root="/c",
    artifact_root="/a",
    interpreter="/py",
    default_template=None,  # type: ignore[arg-type]
)
ALL = {"0", "1", "2", "3", "4", "5"}


async def pruned(seen: Experiment, *trials: Trial, place: Place = PLACE) -> Folders:
    """What is left after one look at it."""
    world = StillWorld(clock=HastyClock())
    await world.prepare(seen)
    for each in trials:
        await world.insert(TRIALS.name, TRIAL.encode(each))
    folders = Folders({f"/c/{UID}": set(ALL), f"/a/{UID}": set(ALL), "/c": {UID}})
    pruning = Pruning(world.parts(), folders, place)  # type: ignore[arg-type]
    await pruning._find_left()
    await pruning._prune([UID])
    return folders


async def test_the_best_and_the_open_ones_stay() -> None:
    left = await pruned(
        state(),
        trial(0, 0.5),
        trial(1, 0.1),
        trial(2, 0.01, TrialPhase.KILLED),
        trial(3, 0.2, TrialPhase.EARLY_STOPPED),
    )
    assert left.there[f"/c/{UID}"] == left.there[f"/a/{UID}"] == {"1", "3", "4", "5"}


async def test_of_an_objective_that_is_to_be_large_the_large_ones_stay() -> None:
    seen = state()
    large = Objective(type=ObjectiveType.MAXIMIZE, metric="loss")
    seen = replace(seen, spec=replace(seen.spec, objective=large))
    values = (0.5, 0.1, float("nan"), 0.2)
    left = await pruned(seen, *(trial(i, value) for i, value in enumerate(values)))
    assert left.there[f"/c/{UID}"] == {"0", "3", "4", "5"}


async def test_with_none_to_keep_only_open_ones_stay() -> None:
    seen = state()
    left = await pruned(replace(seen, spec=replace(seen.spec, keep_best=0)), trial(0, 0.5))
    assert left.there[f"/c/{UID}"] == {"4", "5"}


async def test_what_lies_in_an_object_store_is_left_alone() -> None:
    far = replace(PLACE, checkpoint_root="s3://bucket", artifact_root="s3://other")
    left = await pruned(state(), trial(0, 0.5), trial(1, 0.1), trial(2, 0.3), place=far)
    assert left.there[f"/c/{UID}"] == ALL


async def test_a_folder_in_which_a_run_left_nothing_goes_at_its_end() -> None:
    world, folders = StillWorld(), Folders()
    await world.prepare()
    pruning = Pruning(world.parts(), folders, PLACE)  # type: ignore[arg-type]
    pruning.ended(f"{UID}.3.1")
    await pruning._drop_empty()
    assert folders.emptied == [f"/a/{UID}/3"]
