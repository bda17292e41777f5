"""The command that repeats the best trial by hand."""

from dataclasses import replace

import pytest

from trialbus.kernel.checkpoints import Checkpoint
from trialbus.kernel.experiment import BestTrial
from trialbus.kernel.spec import TrialTemplate
from trialbus.kernel.templates import DefaultTemplate
from trialbus.kernel.trial import Assignment
from trialbus.testkit.gateway_documents import experiment
from trialbus_gateway.core.progress import Process, process_of

BEST = BestTrial(
    index=0,
    name="tune-abcd1234",
    value=0.8,
    assignments=(Assignment(name="lr", value="0.5"),),
    observation=(),
)
DEFAULT = DefaultTemplate(command=("/py", "-m", "trainer"))


def test_the_best_trials_command_is_what_it_ran() -> None:
    state = experiment()
    process = process_of(
        state, BEST, default=DEFAULT, interpreter="/py", checkpoint=Checkpoint(own="/c/0")
    )
    assert process == Process(command=("/py", "-m", "trainer", "lr=0.5"), working_dir=None)


@pytest.mark.parametrize(
    ("checkpoint", "words", "made"),
    [
        (Checkpoint(own="/c/7", parent="/c/3"), "/c/7-again", ("/c/7-again", "")),
        (
            Checkpoint(own="/c/7", parent="/c/3", inside="/opt/x"),
            "/c/7-again",
            ("/c/7-again", "/c/3"),
        ),
        (Checkpoint(own="s3://b/7", parent="s3://b/3"), "s3://b/7-again", None),
        (Checkpoint(own="/c/7"), "/c/7-again", ("/c/7-again", "")),
    ],
)
def test_what_a_trial_went_on_from_is_told_and_what_it_left_is_left_alone(
    checkpoint: Checkpoint, words: str, made: tuple[str, str] | None
) -> None:
    container = {"name": "c", "command": ["./x", "$(TRIALBUS_CHECKPOINT)"]}
    job = {"spec": {"template": {"spec": {"containers": [container]}}}}
    template = TrialTemplate(trial_spec={"kind": "Job", **job}, primary_container="c")
    state = experiment()
    state = replace(state, spec=replace(state.spec, template=template))
    process = process_of(state, BEST, default=DEFAULT, interpreter="/py", checkpoint=checkpoint)
    assert process is not None
    assert process.command == ("./x", words)
    assert process.env == {
        "TRIALBUS_CHECKPOINT": words,
        "TRIALBUS_PARENT_CHECKPOINT": checkpoint.parent,
    }
    copy = process.checkpoint
    assert (None if copy is None else (copy.path, copy.copy_of)) == made


def test_a_template_that_is_no_process_has_no_command() -> None:
    template = TrialTemplate(trial_spec={"kind": "TFJob", "spec": {}})
    state = experiment()
    state = replace(state, spec=replace(state.spec, template=template))
    checkpoint = Checkpoint(own="/c/0")
    process = process_of(state, BEST, default=DEFAULT, interpreter="/py", checkpoint=checkpoint)
    assert process is None
