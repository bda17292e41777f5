"""Katib's own experiments, unchanged, run to success on one machine; so do files of images, and
trials that go on from others."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.testkit.programs import REPOSITORY
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object
from trialbus.testkit.waits import until_sync

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

KATIB = REPOSITORY / "examples/katib"
MAP = f"--map-path=/opt/pytorch-mnist={KATIB}/images/pytorch-mnist"
# Those whose trials are Jobs, of the algorithms random, tpe, hyperband and bayesianoptimization.
FILES = (
    "bayesian-optimization",
    "file-metrics-collector-with-json-format",
    "from-volume-resume",
    "hyperband",
    "hyperopt-distribution",
    "median-stop",
    "metrics-collection-strategy",
    "random",
    "trial-metadata-substitution",
)
# What stands for Katib's images of architecture search.
MAP_DARTS = f"--map-image=ghcr.io/kubeflow/katib/darts-cnn-cifar10-cpu={REPOSITORY}/examples/nas"
MAP_ENAS = f"--map-image=ghcr.io/kubeflow/katib/enas-cnn-cifar10-cpu={REPOSITORY}/examples/nas"
IMAGE = "registry.example/team/train:1.2"
NEVER = 'status.conditions.#(type=="Never")'
TRAIN = '#!/bin/sh\necho "loss=$1 in $(basename "$PWD") by $(tool)"\n'


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    """Knows Katib's image, and one with programs and an entry point of its own."""
    folder = tmp_path_factory.mktemp("katib")
    image = folder / "train-image"
    program(image / "bin/tool", "#!/bin/sh\necho its own tool\n")
    program(image / "entrypoint", TRAIN)
    stack = RealStack(folder)
    try:
        own = f"--map-image={IMAGE.partition(':')[0]}={image}"
        done = stack.call("up", MAP, MAP_DARTS, MAP_ENAS, own)
        assert done.code == 0, done.err
        yield stack
    finally:
        stack.down()


def ran(stack: RealStack, *arguments: str) -> dict[str, Any]:
    """The experiment after its end."""
    done = stack.call("run", *arguments, "--json")
    assert done.out, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def last(found: dict[str, Any]) -> dict[str, Any]:
    condition: dict[str, Any] = found["status"]["conditions"][-1]
    return condition


def trial_of(stack: RealStack, name: str) -> dict[str, Any]:
    done = stack.call("get", "trials", "-e", name, "-n", NAMESPACE, "-o", "json")
    (trial,) = json.loads(done.out)["items"]
    assert isinstance(trial, dict)
    return trial


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_katibs_runs_to_success(stack: RealStack, name: str) -> None:
    file = KATIB / f"{name}.yaml"
    asked = yaml.safe_load(file.read_text(encoding="utf-8"))["spec"]
    found = ran(stack, str(file))
    status = found["status"]
    ended = (last(found)["type"], last(found)["reason"])
    assert ended == ("Succeeded", "ExperimentMaxTrialsReached"), status
    trials = asked["maxTrialCount"]
    assert status["trials"] == trials
    assert status["trialsSucceeded"] + status.get("trialsEarlyStopped", 0) == trials
    wanted = asked["objective"]
    best = status["currentOptimalTrial"]
    seen = {metric["name"] for metric in best["observation"]["metrics"]}
    assert seen == {wanted["objectiveMetricName"], *wanted.get("additionalMetricNames", [])}
    assert {it["name"] for it in best["parameterAssignments"]} == {
        it["name"] for it in asked["parameters"]
    }


def test_katibs_darts_ends_with_its_genotype_as_the_result(stack: RealStack) -> None:
    """One layer, one node, one operation: only the order of its two edges is open."""
    found = ran(stack, str(KATIB / "darts-cpu.yaml"))
    assert last(found)["reason"] == "ExperimentMaxTrialsReached", found["status"]
    namespace = found["metadata"]["namespace"]
    done = stack.call("get", "experiments", "darts-cpu", "-n", namespace, "-o", "json")
    assert done.code == 0, done.err
    best = json.loads(done.out)["status"]["currentOptimalTrial"]
    [metric] = best["observation"]["metrics"]
    genotype = metric.pop("latest")
    assert metric == {"name": "Best-Genotype", "min": "unavailable", "max": "unavailable"}
    edges = ("('max_pooling_3x3',0)", "('max_pooling_3x3',1)")
    assert genotype in {
        f"Genotype(normal=[[{','.join(order)}]],normal_concat=range(2,3),"
        "reduce=[],reduce_concat=range(2,3))"
        for order in (edges, edges[::-1])
    }
    given = {it["name"]: it["value"] for it in best["parameterAssignments"]}
    assert given["search-space"] == "['max_pooling_3x3']"
    table = stack.call("get", "trials", "-e", "darts-cpu", "-n", namespace).out
    assert "Best-Genotype=Genotype(normal=[[('max_pooling_3x3'," in table


def test_hyperband_walks_all_its_rungs_beyond_the_range_of_the_resource(stack: RealStack) -> None:
    """Katib's file stops after the first rung. r_l 2, eta 2: 2 and 1 trials, then 2; the epochs'
    own range ends at 1."""
    experiment = yaml.safe_load((KATIB / "hyperband.yaml").read_text(encoding="utf-8"))
    experiment["metadata"] = {"name": "hyperband-whole", "namespace": NAMESPACE}
    del experiment["spec"]["maxTrialCount"], experiment["spec"]["objective"]["goal"]
    found = ran(stack, stack.write(experiment))
    assert last(found)["type"] == "Succeeded", found["status"]
    assert found["status"]["trialsSucceeded"] == found["status"]["trials"] == 5
    done = stack.call("get", "trials", "-e", "hyperband-whole", "-n", NAMESPACE, "-o", "json")
    seen = []
    for trial in json.loads(done.out)["items"]:
        labels = trial["metadata"]["labels"]
        values = {it["name"]: it["value"] for it in trial["spec"]["parameterAssignments"]}
        place = (labels["trialbus.io/bracket"], labels["trialbus.io/rung"])
        seen.append((*place, values["num-epochs"]))
    assert sorted(seen) == [
        ("0", "0", "2"), ("0", "0", "2"), ("1", "0", "1"), ("1", "0", "1"), ("1", "1", "2")
    ]  # fmt: skip


def test_katibs_enas_trains_the_networks_that_its_controller_made(stack: RealStack) -> None:
    found = ran(stack, str(KATIB / "enas-cpu.yaml"))
    assert last(found)["reason"] == "ExperimentMaxTrialsReached", found["status"]
    status = found["status"]
    assert status["trialsSucceeded"] == 3
    best = status["currentOptimalTrial"]
    [metric] = best["observation"]["metrics"]
    assert metric["name"] == "Validation-Accuracy"
    assert 0 < float(metric["max"]) <= 1
    given = {it["name"]: it["value"] for it in best["parameterAssignments"]}
    [[number]] = json.loads(given["architecture"])
    network = json.loads(given["nn_config"].replace("'", '"'))
    # Three operations of 30, 60 and 12 forms, and 4 of the reduction.
    assert 0 <= number < 106
    assert [*network["embedding"]] == [str(number)]


def test_promoted_trials_of_asha_go_on_from_their_parents_checkpoints(stack: RealStack) -> None:
    """examples/asha.yaml, shortened: who is promoted from 1 epoch prints the second and third."""
    file = REPOSITORY / "examples/asha.yaml"
    experiment = yaml.safe_load(file.read_text(encoding="utf-8"))
    experiment["metadata"] = {"name": "asha", "namespace": NAMESPACE}
    experiment["spec"]["maxTrialCount"] = 10
    found = ran(stack, stack.write(experiment))
    assert last(found)["type"] == "Succeeded", found["status"]
    done = stack.call("get", "trials", "-e", "asha", "-n", NAMESPACE, "-o", "json")
    promoted = [
        trial["metadata"]["name"]
        for trial in json.loads(done.out)["items"]
        if trial["metadata"]["labels"]["trialbus.io/rung"] == "1"
    ]
    assert promoted
    for name in promoted:
        logs = stack.call("logs", name).out
        assert [line.split()[0] for line in logs.splitlines()] == ["epoch=2", "epoch=3"]


def test_a_script_that_is_in_an_image_only_is_named_with_the_flag_to_give(
    stack: RealStack,
) -> None:
    """Before anything is run; a script of a relative name is looked for where the trial runs."""
    experiment = with_use_of_x(experiment_object("unmapped", ["python3", "/opt/other/train.py"]))
    done = stack.call("run", stack.write(experiment))
    assert done.code != 0
    assert "containers[0].command[1]: there is no '/opt/other/train.py'" in done.err
    assert "--map-path /opt/other=DIR" in done.err
    found = ran(stack, stack.write(with_use_of_x(experiment_object("beside", ["python3", "x.py"]))))
    assert last(found)["type"] == "Failed"
    message = trial_of(stack, "beside")["status"]["conditions"][-1]["message"]
    assert "--map-image none=DIR" in message


def with_use_of_x(experiment: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Its container with changes, and the parameter as a variable."""
    job = experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "X", "value": "${trialParameters.x}"}]
    container |= changes
    return experiment


def test_an_image_stands_for_its_folder_its_programs_and_its_entry_point(
    stack: RealStack,
) -> None:
    experiment = experiment_object("mapped", [])
    container = {"command": None, "args": ["${trialParameters.x}"], "image": IMAGE}
    found = ran(stack, stack.write(with_use_of_x(experiment, **container)))
    assert last(found)["type"] == "Succeeded", found["status"]
    trial = trial_of(stack, "mapped")
    logs = stack.call("logs", trial["metadata"]["name"]).out
    x = trial["spec"]["parameterAssignments"][0]["value"]
    assert logs == f"loss={x} in train-image by its own tool\n"


def test_a_job_without_a_command_is_refused_with_the_flag_to_give(stack: RealStack) -> None:
    experiment = with_use_of_x(experiment_object("no-command", []), command=None)
    done = stack.call("run", stack.write(experiment))
    assert done.code != 0
    assert "--map-image none=DIR" in done.err


@pytest.mark.parametrize(
    ("program_", "conditions", "type_", "reason"),
    [
        (
            "echo loss=1",
            {
                "failureCondition": 'status.conditions.#(type=="Complete")',
                "successCondition": NEVER,
            },
            "Failed",
            "TrialFailed. Job reason: CompletionsReached",
        ),
        (
            "echo loss=1; exit 3",
            {"failureCondition": NEVER, "successCondition": "status.[@this].#(failed==1)"},
            "Succeeded",
            "TrialSucceeded",
        ),
        (
            "echo loss=1",
            {"failureCondition": NEVER, "successCondition": NEVER},
            "Failed",
            "TrialFailed",
        ),
    ],
    ids=["exit code 0 fails", "exit code 3 succeeds", "neither matches"],
)
def test_conditions_say_how_a_trial_ended(
    stack: RealStack, program_: str, conditions: dict[str, str], type_: str, reason: str
) -> None:
    name = f"own-{sum(map(ord, str(conditions)))}"
    experiment = with_use_of_x(experiment_object(name, ["sh", "-c", program_]))
    experiment["spec"]["trialTemplate"] |= conditions
    ran(stack, stack.write(experiment))
    condition = trial_of(stack, name)["status"]["conditions"][-1]
    assert (condition["type"], condition["reason"]) == (type_, reason), condition


@pytest.mark.parametrize("retain", [False, True])
def test_a_collectors_file_is_private_to_its_trial_and_goes_with_its_end(
    stack: RealStack, retain: bool
) -> None:
    name = f"retain-{retain}".lower()
    program_ = "echo loss=0.5 >/katib/m.log; echo /katib/m.log $TRIALBUS_METRICS_PATH"
    experiment = with_use_of_x(experiment_object(name, ["sh", "-c", program_]))
    experiment["spec"]["trialTemplate"]["retain"] = retain
    experiment["spec"]["metricsCollectorSpec"] = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"kind": "File", "path": "/katib/m.log", "format": "TEXT"}},
    }
    found = ran(stack, stack.write(experiment))
    assert last(found)["type"] == "Succeeded", found["status"]
    trial = trial_of(stack, name)["metadata"]["name"]
    run = f"{found['metadata']['uid']}.0.1"
    private = stack.data / "runs" / run / "private/katib/m.log"
    assert stack.call("logs", trial).out == f"{private} {private}\n"
    if retain:
        assert private.read_text() == "loss=0.5\n"
    else:
        until_sync(lambda: not private.parents[1].exists(), "its private folder is removed")


def test_a_running_stack_keeps_its_mappings_and_says_so(stack: RealStack) -> None:
    done = stack.call("up", f"--map-path=/opt/elsewhere={KATIB}")
    assert done.code == 0
    assert "keeps its own mappings" in done.err
    assert "/opt/pytorch-mnist" in done.err
    assert "note" not in stack.call("up", MAP).err
