"""`tune()` with a Python function, as Katib's documentation has it. As calls.py."""

import json
import sys

from kubeflow.katib import KatibClient, search


def objective(parameters):  # type: ignore[no-untyped-def] # goes to the trial as it is
    import os

    x, kind = float(parameters["x"]), parameters["kind"]
    for step in range(3):
        print(f"epoch {step + 1} loss={x * x / (step + 1)} {kind} {os.environ['PLACE']}")


def main() -> None:
    client = KatibClient()
    client.tune(
        name="tuned",
        objective=objective,
        parameters={
            "x": search.double(min=1, max=2),
            "n": search.int(min=1, max=3),
            "kind": search.categorical(["a", "b"]),
            "fixed": 3,
        },
        base_image=sys.argv[2],
        objective_metric_name="loss",
        objective_type="minimize",
        max_trial_count=2,
        parallel_trial_count=2,
        env_per_trial={"PLACE": "7"},
        resources_per_trial={"cpu": "1", "memory": "1G"},
    )
    client.wait_for_experiment_condition("tuned", polling_interval=1, timeout=60)
    best = client.get_optimal_hyperparameters("tuned")
    trials = client.get_success_trial_details("tuned")
    print(
        json.dumps(
            {
                "best": {it.name: it.value for it in best.parameter_assignments},
                "min": best.observation.metrics[0].min,
                "trials": len(trials),
                "log": list(client.get_job_logs("tuned", best.best_trial_name)),
            }
        )
    )


main()
