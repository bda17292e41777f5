"""`report_metrics()` from within trials (Push). As calls.py.

It reads a file that only a pod has; each trial gets it in a mount namespace of its own.
"""

import json
import sys
from typing import Any

from kubeflow.katib import KatibClient

POD = (
    "mount -t tmpfs tmpfs /run && cd /run && d=secrets/kubernetes.io/serviceaccount && "
    'mkdir -p $d && printf default > $d/namespace && exec "$@"'
)
REPORTING = """
import sys
from kubeflow.katib import report_metrics
for step in range(3):
    report_metrics({"loss": float(sys.argv[1]) / (step + 1), "step": step}, sys.argv[2])
"""


def experiment(grpc: str) -> dict[str, Any]:
    python = [sys.executable, "-c", REPORTING, "${trialParameters.x}", grpc]
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "pushed", "namespace": "default"},
        "spec": {
            "maxTrialCount": 1,
            "parallelTrialCount": 1,
            "objective": {
                "type": "minimize",
                "objectiveMetricName": "loss",
                "additionalMetricNames": ["step"],
            },
            "algorithm": {"algorithmName": "random"},
            "metricsCollectorSpec": {"collector": {"kind": "Push"}},
            "parameters": [
                {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}}
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
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
                                        "command": ["unshare", "-rm", "sh", "-c", POD, "sh"],
                                        "args": python,
                                    }
                                ],
                            }
                        }
                    },
                },
            },
        },
    }


def main() -> None:
    client, grpc = KatibClient(), sys.argv[1]
    client.create_experiment(experiment(grpc))
    client.wait_for_experiment_condition("pushed", polling_interval=1, timeout=60)
    best = client.get_optimal_hyperparameters("pushed")
    reported = client.get_trial_metrics(best.best_trial_name, db_manager_address=grpc)
    print(
        json.dumps(
            {
                "x": float(best.parameter_assignments[0].value),
                "min": {it.name: float(it.min) for it in best.observation.metrics},
                "max": {it.name: float(it.max) for it in best.observation.metrics},
                "reported": [(it.metric.name, float(it.metric.value)) for it in reported],
                "log": list(client.get_job_logs("pushed", best.best_trial_name)),
            }
        )
    )


main()
