"""Run by the newer client, unmodified: python optimized.py KUBECONFIG GATEWAY_KUBECONFIG.

Creates, lists, waits for, reads and deletes an optimization job whose trials are TrainJobs; prints
what it saw as one JSON object.
"""

import json
import sys

from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.optimizer import (
    Objective,
    OptimizerClient,
    RandomSearch,
    Search,
    TrainJobTemplate,
    TrialConfig,
)
from kubeflow.trainer import CustomTrainer, TrainerClient


def train(x: str, y: str) -> None:
    print("training begins")
    for step in (1, 2, 3):
        print(f"loss={(float(x) - 1) ** 2 + float(y) / step:.6f}", flush=True)


def main(kubeconfig: str, gateway: str) -> None:
    config = KubernetesBackendConfig(config_file=kubeconfig, namespace="default")
    client = OptimizerClient(config)
    runtime = TrainerClient(config).get_runtime("plain")
    name = client.optimize(
        TrainJobTemplate(trainer=CustomTrainer(func=train), runtime=runtime),
        search_space={"x": Search.uniform(0, 2), "y": Search.choice(["0.5", "1.5"])},
        objectives=[Objective(metric="loss")],
        algorithm=RandomSearch(random_state=7),
        trial_config=TrialConfig(num_trials=4, parallel_trials=2, max_failed_trials=1),
    )
    listed = [job.name for job in client.list_jobs()]
    seen: set[str] = set()
    done = client.wait_for_job_status(
        name, timeout=120, polling_interval=1, callbacks=[lambda job: seen.add(job.status)]
    )
    best = client.get_best_results(name)
    # By the name of a container of Katib's: a gateway knows what is meant.
    config = KubernetesBackendConfig(config_file=gateway, namespace="default")
    logs = list(OptimizerClient(config).get_job_logs(name))
    events = [event.reason for event in client.get_job_events(name)]
    client.delete_job(name)
    print(
        json.dumps(
            {
                "name": name,
                "listed": listed,
                "seen": sorted(seen),
                "status": done.status,
                "trials": [
                    {
                        "parameters": trial.parameters,
                        "metrics": [metric.__dict__ for metric in trial.metrics],
                        "trainjob": trial.trainjob.status,
                    }
                    for trial in done.trials
                ],
                "best": {"parameters": best.parameters, "metrics": best.metrics[0].__dict__},
                "logs": logs,
                "events": events,
            },
            default=str,
        )
    )


main(*sys.argv[1:])
