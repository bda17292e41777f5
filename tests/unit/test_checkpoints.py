"""Where a trial's checkpoint is, what its command is told of it, and what becomes of paths."""

from pathlib import Path
from typing import Any

import pytest

from trialbus.kernel.checkpoints import Checkpoint, checkpoint_of
from trialbus.kernel.images import LocalImages
from trialbus.kernel.spec import AlgorithmSpec, TrialParameter, TrialTemplate
from trialbus.kernel.templates import RenderedRun, TrialIdentity, render_command
from trialbus.kernel.trial import Assignment
from trialbus.runtime.checkpoints import checkpoint_root
from trialbus.runtime.settings import Settings

TRIAL = TrialIdentity(namespace="ns", experiment="exp", name="exp-b")
PBT = AlgorithmSpec(name="pbt", settings=(("suggestion_trial_dir", "/opt/katib/data/"),))


def rendered(checkpoint: Checkpoint, *args: str) -> RenderedRun:
    container: dict[str, Any] = {
        "name": "c",
        "command": ["./train"],
        "args": list(args),
        "env": [{"name": "DIR", "value": "/opt/katib/data/x"}],
    }
    spec = {"kind": "Job", "spec": {"template": {"spec": {"containers": [container]}}}}
    return render_command(
        TrialTemplate(
            trial_spec=spec,
            primary_container="c",
            parameters=(TrialParameter(name="x", reference="x"),),
        ),
        TRIAL,
        [Assignment(name="x", value="1")],
        interpreter="/py",
        images=LocalImages(images={}, paths={"/data": "/elsewhere"}),
        checkpoint=checkpoint,
    )


def test_a_trial_and_the_one_it_goes_on_from_have_folders_below_their_experiments() -> None:
    checkpoint = checkpoint_of("/c/", "u", 7, 3, AlgorithmSpec(name="asha"))
    assert checkpoint == Checkpoint(own="/c/u/7", parent="/c/u/3")
    assert checkpoint_of("/c", "u", 7, None, PBT) == Checkpoint(
        own="/c/u/7", inside="/opt/katib/data"
    )


def test_the_command_is_told_both_in_its_environment_and_its_words() -> None:
    run = rendered(
        Checkpoint(own="/data/u/7", parent="/data/u/3"),
        "--to=$(TRIALBUS_CHECKPOINT)",
        "--from=$(TRIALBUS_PARENT_CHECKPOINT)",
    )
    # Though /data in the template is elsewhere here, these two are local already.
    assert run.command == ("./train", "--to=/data/u/7", "--from=/data/u/3")
    assert run.env["TRIALBUS_CHECKPOINT"] == "/data/u/7"
    assert run.env["TRIALBUS_PARENT_CHECKPOINT"] == "/data/u/3"


def test_who_begins_anew_is_told_an_empty_parent() -> None:
    run = rendered(Checkpoint(own="s3://b/u/7"), "[$(TRIALBUS_PARENT_CHECKPOINT)]")
    assert run.command == ("./train", "[]")
    assert run.env["TRIALBUS_CHECKPOINT"] == "s3://b/u/7"
    assert run.env["TRIALBUS_PARENT_CHECKPOINT"] == ""


def test_the_folder_of_the_setting_is_the_trials_own() -> None:
    checkpoint = Checkpoint(own="/data/u/7", parent="/data/u/3", inside="/opt/katib/data")
    run = rendered(
        checkpoint, "--dir=/opt/katib/data/", "$(TRIALBUS_CHECKPOINT)/a", "/opt/katib/database"
    )
    assert run.command == ("./train", "--dir=/data/u/7/", "/data/u/7/a", "/opt/katib/database")
    assert run.env["DIR"] == "/data/u/7/x"
    assert run.env["TRIALBUS_CHECKPOINT"] == "/data/u/7"


def test_only_a_folder_with_a_name_in_the_container_gets_its_parents_content() -> None:
    assert Checkpoint(own="/c/7", parent="/c/3").inherited == ""
    assert Checkpoint(own="/c/7", parent="/c/3", inside="/x").inherited == "/c/3"
    assert Checkpoint(own="s3://c/7", parent="s3://c/3", inside="/x").inherited == ""
    assert Checkpoint(own="/c/7", inside="/x").inherited == ""


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("", "/data/checkpoints"),
        ("/other", "/other"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("gs+x://b", "gs+x://b"),
    ],
)
def test_the_setting_names_a_folder_or_a_uri(given: str, root: str) -> None:
    assert (
        checkpoint_root(Settings.model_validate({"data_dir": "/data", "checkpoint_root": given}))
        == root
    )


def test_a_folder_of_the_setting_begins_where_the_stack_was_started() -> None:
    assert checkpoint_root(Settings.model_validate({"checkpoint_root": "near"})) == str(
        Path("near").absolute()
    )
