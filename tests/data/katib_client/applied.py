"""Katib's client on custom resources of a cluster: create, wait, read, edit, delete.

Runs in the environment of the official client, with KUBECONFIG; the argument is the namespace.
Prints one JSON object: what each method gave.
"""

import json
import sys
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

NAME = "by-client"


def job() -> dict[str, Any]:
    command = ["sh", "-c", "echo loss=0.$0", "${trialParameters.number}"]
    container = {"name": "main", "image": "none", "command": command}
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}


def experiment(namespace: str) -> V1beta1Experiment:
    return V1beta1Experiment(
        api_version="kubeflow.org/v1beta1",
        kind="Experiment",
        metadata=V1ObjectMeta(name=NAME, namespace=namespace),
        spec=V1beta1ExperimentSpec(
            max_trial_count=3,
            parallel_trial_count=3,
            max_failed_trial_count=1,
            resume_policy="LongRunning",
            objective=V1beta1ObjectiveSpec(type="minimize", objective_metric_name="loss"),
            algorithm=V1beta1AlgorithmSpec(algorithm_name="random"),
            parameters=[
                V1beta1ParameterSpec(
                    name="number",
                    parameter_type="int",
                    feasible_space=V1beta1FeasibleSpace(min="100", max="999"),
                )
            ],
            trial_template=V1beta1TrialTemplate(
                primary_container_name="main",
                trial_parameters=[V1beta1TrialParameterSpec(name="number", reference="number")],
                trial_spec=job(),
            ),
        ),
    )


def main(namespace: str) -> None:
    client = KatibClient(namespace=namespace)
    client.create_experiment(experiment(namespace))

    def ended(trials: int) -> Any:
        client.wait_for_experiment_condition(
            NAME, expected_condition="Succeeded", timeout=60, polling_interval=1
        )
        found = client.get_experiment(NAME)
        assert found.status.trials == trials, found.status
        return found

    first = ended(3)
    best = client.get_optimal_hyperparameters(NAME)
    trials = client.list_trials(NAME)
    suggestion = client.get_suggestion(NAME)
    told = {
        "conditions": [it.type for it in first.status.conditions],
        "succeeded": first.status.trials_succeeded,
        "best": best.best_trial_name,
        "trials": sorted(it.metadata.name for it in trials),
        "metrics": [it.status.observation.metrics[0].name for it in trials],
        "suggested": suggestion.status.suggestion_count,
        "listed": [it.metadata.name for it in client.list_experiments()],
    }
    client.edit_experiment_budget(NAME, max_trial_count=5)
    client.delete_experiment(NAME)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
