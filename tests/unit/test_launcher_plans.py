"""What a launcher starts for a trial: its private files, and what the system cannot take."""

from dataclasses import replace

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.images import ImageFolder, LocalImages
from trialbus.kernel.spec import (
    AlgorithmSpec,
    CollectorKind,
    MetricsCollectorSpec,
    MetricsPath,
    PathKind,
)
from trialbus.kernel.suggestion import LookAhead
from trialbus.kernel.templates import DefaultTemplate
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.launcher import CheckpointFolder, RunPlan
from trialbus.testkit.experiment_states import NOW, UID, experiment, spec
from trialbus_trial_launcher.app.plans import Place, plan_of

PLACE = Place(
    host="here",
    boot_id="boot",
    runs_folder="/data/runs",
    checkpoint_root="/data/checkpoints",
    artifact_root="/data/artifacts",
    interpreter="/py",
    default_template=DefaultTemplate(command=("python", "-m", "trainer")),
    images=LocalImages(images={"img": ImageFolder(folder="/img")}, paths={}),
)
TRIAL = Trial(
    id=f"{UID}.0",
    uid=UID,
    version=1,
    namespace="ns",
    experiment="exp",
    index=0,
    name="exp-0",
    phase=TrialPhase.CREATED,
    assignments=(),
    conditions=(),
    created_at=NOW,
)


def planned(path: str | None, kind: PathKind = PathKind.FILE) -> RunPlan:
    metrics = None if path is None else MetricsPath(path=path, kind=kind)
    collector = MetricsCollectorSpec(kind=CollectorKind.FILE, path=metrics)
    return plan_of(experiment(spec(metrics_collector=collector)), TRIAL, 2, PLACE)


@pytest.mark.parametrize(
    ("path", "kind", "folder", "local"),
    [
        ("/katib/m.json", PathKind.FILE, "katib", "katib/m.json"),
        ("/m.json", PathKind.FILE, "", "m.json"),
        ("/var/log/tfevent/", PathKind.DIRECTORY, "var/log/tfevent", "var/log/tfevent"),
        ("/../a/../../etc/m", PathKind.FILE, "etc", "etc/m"),
        ("//double/m", PathKind.FILE, "double", "double/m"),
    ],
)
def test_the_collectors_file_is_private_to_the_attempt(
    path: str, kind: PathKind, folder: str, local: str
) -> None:
    plan = planned(path, kind)
    assert plan.folders == (folder,)
    assert plan.env["TRIALBUS_METRICS_PATH"] == f"/data/runs/u.0.2/private/{local}"


def test_without_a_file_nothing_is_private() -> None:
    plan = planned(None)
    assert plan.folders == ()
    assert "TRIALBUS_METRICS_PATH" not in plan.env


@pytest.mark.parametrize("path", ["/a\0b", "/" + "x" * 256 + "/m", "/" + "x/" * 1600 + "m"])
def test_a_path_that_cannot_be_is_refused_instead_of_tried_for_ever(path: str) -> None:
    with pytest.raises(Refused, match=r"fileSystemPath\.path: is no path"):
        planned(path)


# Checkpoints --------------------------------------------------------------------------------------


def with_parent(algorithm: AlgorithmSpec, root: str = "/data/checkpoints") -> RunPlan:
    place = replace(PLACE, checkpoint_root=root)
    trial = replace(TRIAL, index=7, parent=3)
    return plan_of(experiment(spec(algorithm=algorithm)), trial, 2, place)


def test_a_trial_has_a_folder_that_its_attempts_share() -> None:
    plan = with_parent(AlgorithmSpec(name="asha"))
    assert plan.checkpoint == CheckpointFolder(path="/data/checkpoints/u/7")
    assert plan.env["TRIALBUS_CHECKPOINT"] == "/data/checkpoints/u/7"
    assert plan.env["TRIALBUS_PARENT_CHECKPOINT"] == "/data/checkpoints/u/3"


def test_where_the_container_names_the_folder_it_begins_with_the_parents_content() -> None:
    plan = with_parent(AlgorithmSpec(name="pbt", settings=(("suggestion_trial_dir", "/opt/x"),)))
    assert plan.checkpoint == CheckpointFolder(
        path="/data/checkpoints/u/7", copy_of="/data/checkpoints/u/3"
    )


def test_a_uri_is_only_told() -> None:
    settings = (("suggestion_trial_dir", "/opt/x"),)
    plan = with_parent(AlgorithmSpec(name="pbt", settings=settings), root="s3://bucket/x")
    assert plan.checkpoint is None
    assert plan.env["TRIALBUS_CHECKPOINT"] == "s3://bucket/x/u/7"
    assert plan.env["TRIALBUS_PARENT_CHECKPOINT"] == "s3://bucket/x/u/3"


@pytest.mark.parametrize(
    ("look_ahead", "heirs"),
    [(LookAhead.FREE, "no"), (LookAhead.PENDING, "no"), (LookAhead.NONE, "perhaps")],
)
def test_a_trial_is_told_where_its_artifacts_go_and_whether_others_go_on_from_it(
    look_ahead: LookAhead, heirs: str
) -> None:
    plan = plan_of(experiment(look_ahead=look_ahead), TRIAL, 1, PLACE)
    assert plan.env["TRIALBUS_ARTIFACTS"] == plan.artifacts == f"/data/artifacts/{UID}/0"
    assert plan.env["TRIALBUS_HEIRS"] == heirs
    far = plan_of(experiment(), TRIAL, 1, replace(PLACE, artifact_root="s3://b/x"))
    assert (far.env["TRIALBUS_ARTIFACTS"], far.artifacts) == (f"s3://b/x/{UID}/0", "")
