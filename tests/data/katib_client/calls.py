"""Every method of Katib's client but `tune`, on experiments of a second or two.

Runs in the environment of the official client, with KUBECONFIG; the argument is the gRPC address.
Prints one JSON object: what each method gave.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubeflow.katib import (
    KatibClient,
    V1beta1AlgorithmSpec,
    V1beta1Experiment,
    V1beta1ExperimentSpec,
    V1beta1FeasibleSpace,
    V1beta1ObjectiveSpec,
    V1beta1ParameterSpec,
    V1beta1TrialParameterSpec,
    V1beta1TrialTemplate,
)
from kubernetes.client import V1ObjectMeta

Json = dict[str, Any]

SCRIPT = "for i in 1 2 3; do echo loss=$i.$0; done; echo the end"
WAITING = f"echo begun; until test -e {Path.cwd()}/gate; do sleep 0.05; done; echo loss=0.$0"
FAILING = "echo no luck; exit 3"


def job(script: str) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "main",
                            "image": "none",
                            "command": ["sh", "-c", script, "${trialParameters.number}"],
                        }
                    ],
                }
            }
        },
    }


def experiment(
    name: str, script: str, trials: int = 3, parallel: int = 3, failed: int | None = None
) -> V1beta1Experiment:
    return V1beta1Experiment(
        api_version="kubeflow.org/v1beta1",
        kind="Experiment",
        metadata=V1ObjectMeta(name=name, namespace="default", labels={"team": "blue"}),
        spec=V1beta1ExperimentSpec(
            max_trial_count=trials,
            parallel_trial_count=parallel,
            max_failed_trial_count=failed,
            resume_policy="LongRunning",
            objective=V1beta1ObjectiveSpec(type="minimize", objective_metric_name="loss"),
            algorithm=V1beta1AlgorithmSpec(algorithm_name="random"),
            parameters=[
                V1beta1ParameterSpec(
                    name="x",
                    parameter_type="int",
                    feasible_space=V1beta1FeasibleSpace(min="10", max="99"),
                )
            ],
            trial_template=V1beta1TrialTemplate(
                primary_container_name="main",
                trial_parameters=[V1beta1TrialParameterSpec(name="number", reference="x")],
                trial_spec=job(script),
            ),
        ),
    )


def as_dict(client: KatibClient, name: str, script: str, **more: int) -> Any:
    return client.api_client.sanitize_for_serialization(experiment(name, script, **more))


def succeeded(client: KatibClient, told: Json) -> None:
    """An experiment from an object, to its end and on with a larger budget."""
    client.create_experiment(experiment("first", SCRIPT))
    found = client.wait_for_experiment_condition("first", polling_interval=1, timeout=60)
    told["waited_for"] = type(found).__name__
    told["trials"] = found.status.trials
    client.edit_experiment_budget("first", max_trial_count=5, parallel_trial_count=2)
    until(lambda: client.get_experiment("first").status.trials_succeeded == 5)
    client.wait_for_experiment_condition("first", polling_interval=1, timeout=60)
    told["created"] = client.is_experiment_created("first")
    told["succeeded"] = client.is_experiment_succeeded("first")
    told["running"] = client.is_experiment_running("first")
    told["failed"] = client.is_experiment_failed("first")
    told["restarting"] = client.is_experiment_restarting("first")
    told["conditions"] = [it.type for it in client.get_experiment_conditions("first")]
    best = client.get_optimal_hyperparameters("first")
    told["best"] = {
        "trial": best.best_trial_name,
        "x": best.parameter_assignments[0].value,
        "min": best.observation.metrics[0].min,
    }
    told["suggestions"] = client.get_suggestion("first").status.suggestion_count


def looked_at(client: KatibClient, told: Json, grpc: str) -> None:
    trials = client.list_trials("first")
    told["assignments"] = {
        it.metadata.name: it.spec.parameter_assignments[0].value for it in trials
    }
    name = trials[0].metadata.name
    told["trial"] = client.get_trial(name).status.conditions[-1].type
    told["details"] = {
        it["name"]: it["metrics"][0].min for it in client.get_success_trial_details("first")
    }
    told["metrics"] = [
        (it.metric.name, it.metric.value)
        for it in client.get_trial_metrics(name, db_manager_address=grpc)
    ]
    told["log"] = list(client.get_job_logs("first", name))
    told["experiments"] = sorted(it.metadata.name for it in client.list_experiments())
    told["labels"] = client.list_experiments()[0].metadata.labels
    told["listed_suggestions"] = sorted(it.metadata.name for it in client.list_suggestions())


def followed(client: KatibClient, told: Json) -> None:
    """A log that goes on while it is read: the gate opens once its first line is here."""
    client.create_experiment(as_dict(client, "second", WAITING, trials=1, parallel=1))
    until(lambda: client.is_experiment_running("second"))
    trial = until(lambda: client.list_trials("second"))[0].metadata.name
    lines = []
    for line in client.get_job_logs("second", trial, follow=True):
        lines.append(line)
        if line == "begun":
            Path("gate").touch()
    told["followed"] = lines
    client.wait_for_experiment_condition("second", polling_interval=1, timeout=60)


def failed(client: KatibClient, told: Json) -> None:
    client.create_experiment(as_dict(client, "third", FAILING, trials=3, parallel=1, failed=1))
    try:
        client.wait_for_experiment_condition("third", polling_interval=1, timeout=60)
    except RuntimeError as error:
        told["failure"] = str(error).splitlines()[0]
    told["has_failed"] = client.is_experiment_failed("third")


def refused(client: KatibClient, told: Json) -> None:
    told["refusals"] = {}
    wrong = experiment("wrong", SCRIPT)
    wrong.spec.objective.type = "maxi"
    attempts: dict[str, Callable[[], Any]] = {
        "wrong": lambda: client.create_experiment(wrong),
        "again": lambda: client.create_experiment(experiment("first", SCRIPT)),
        "absent": lambda: client.get_experiment("absent"),
    }
    for name, what in attempts.items():
        try:
            what()
        except Exception as error:  # noqa: BLE001 - Katib's client raises no narrower one
            told["refusals"][name] = str(error)


def deleted(client: KatibClient, told: Json) -> None:
    client.delete_experiment("third")
    until(lambda: "third" not in {it.metadata.name for it in client.list_experiments()})
    told["left"] = sorted(it.metadata.name for it in client.list_experiments())


def until(found: Callable[[], Any], within_s: float = 60) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)  # tidy: deadline wait
    return value


def main() -> None:
    client = KatibClient()
    told: Json = {}
    succeeded(client, told)
    looked_at(client, told, sys.argv[1])
    followed(client, told)
    failed(client, told)
    refused(client, told)
    deleted(client, told)
    print(json.dumps(told))


main()
