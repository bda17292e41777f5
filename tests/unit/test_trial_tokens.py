"""The token of a trial: what it proves, and how a trial gets it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trialbus.contracts.trial_tokens import NoKey, read_keys, read_trial_token, trial_token
from trialbus.kernel.access import TrialGrant
from trialbus.kernel.spec import CollectorKind, MetricsCollectorSpec, TrialTemplate
from trialbus.kernel.templates import DefaultTemplate
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.runtime.settings import Settings
from trialbus.runtime.trial_keys import TrialKeysMissing, trial_keys
from trialbus.testkit.experiment_states import NOW, UID, experiment, spec
from trialbus_trial_launcher.app.plans import Place
from trialbus_trial_launcher.app.sources.means import Means
from trialbus_trial_launcher.app.starting import plans_of

KEY, OTHER = b"a" * 32, b"b" * 32
GRANT = TrialGrant(
    namespace="lab", experiment="tune", uid="u-1", trial="tune-abcdefgh", index=3, attempt=2
)


def test_whoever_has_the_key_reads_what_a_token_is_for() -> None:
    assert read_trial_token(trial_token(GRANT, KEY), [KEY]) == GRANT


def test_a_token_of_another_key_is_none() -> None:
    assert read_trial_token(trial_token(GRANT, OTHER), [KEY]) is None


def test_while_a_key_is_changed_tokens_of_the_old_one_are_believed() -> None:
    assert read_trial_token(trial_token(GRANT, OTHER), [KEY, OTHER]) == GRANT


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "other"},
        {"experiment": "x"},
        {"uid": "u-2"},
        {"trial": "tune-zzzzzzzz"},
        {"index": 4},
        {"attempt": 3},
    ],
)
def test_no_word_of_a_token_can_be_changed(change: Mapping[str, Any]) -> None:
    payload = trial_token(replace(GRANT, **change), KEY).partition(".")[0]
    seal = trial_token(GRANT, KEY).partition(".")[2]
    assert read_trial_token(f"{payload}.{seal}", [KEY]) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "tbt_",
        "tbt_.",
        "tbt_a.b",
        "tbt_e30.e30",
        "tbs_x.y",
        "tbt_\u00e9.\u00e9",
        "tbt_" + "A" * 5000,
    ],
)
def test_what_is_no_token_is_none(token: str) -> None:
    assert read_trial_token(token, [KEY]) is None


def test_a_key_that_could_be_guessed_is_refused() -> None:
    for text in (b"", b"\n\n", b"short", b"a" * 32 + b"\nshort"):
        with pytest.raises(NoKey):
            read_keys(text)
    assert read_keys(b"a" * 32 + b"\n" + b"b" * 32 + b"\n") == (KEY, OTHER)


def settings(folder: Path, **given: Any) -> Settings:
    return Settings.model_validate({"data_dir": folder, **given})


def test_a_stack_on_one_machine_makes_its_key_itself_and_keeps_it(tmp_path: Path) -> None:
    made = trial_keys(settings(tmp_path))
    assert trial_keys(settings(tmp_path)) == made
    [file] = (tmp_path / "run").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert trial_keys(settings(tmp_path / "another")) != made


def test_a_key_file_that_is_not_there_is_never_made_up(tmp_path: Path) -> None:
    with pytest.raises(TrialKeysMissing):
        trial_keys(settings(tmp_path, trial_key_file=str(tmp_path / "missing")))


PLACE = Place(
    host="here",
    boot_id="boot",
    runs_folder="/data/runs",
    checkpoint_root="/data/checkpoints",
    artifact_root="/data/artifacts",
    interpreter="/py",
    default_template=DefaultTemplate(command=("python", "-m", "trainer")),
)
# A template that tries to get the token into words that every user of the machine can read.
CURIOUS = {"name": "main", "image": "i", "command": ["sh", "-c", "echo $(TRIALBUS_TOKEN)"]}


def test_a_trial_gets_its_token_in_its_environment_and_nowhere_else() -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [CURIOUS]}}},
    }
    template = TrialTemplate(trial_spec=job, primary_container="main")
    collector = MetricsCollectorSpec(kind=CollectorKind.CUSTOM, container={**CURIOUS, "name": "c"})
    state = experiment(spec(template=template, metrics_collector=collector))
    trial = Trial(
        id=f"{UID}.0",
        uid=UID,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=0,
        name="exp-0",
        phase=TrialPhase.CREATED,
        assignments=(),
        conditions=(),
        created_at=NOW,
    )
    means = Means(
        token=lambda grant: trial_token(grant, KEY), http_address=lambda: "http://127.0.0.1:1"
    )
    plans = plans_of(state, trial, 2, PLACE, means)
    assert len(plans) == 2
    for plan in plans:
        token = plan.env["TRIALBUS_TOKEN"]
        grant = read_trial_token(token, [KEY])
        assert grant == TrialGrant(
            namespace=state.namespace,
            experiment=state.name,
            uid=state.id,
            trial="exp-0",
            index=0,
            attempt=2,
        )
        assert plan.env["TRIALBUS_URL"] == "http://127.0.0.1:1"
        elsewhere = replace(plan, env={})
        assert token not in repr(elsewhere)
    [plain, _] = plans_of(state, trial, 2, PLACE, Means())
    assert "TRIALBUS_TOKEN" not in plain.env
