"""What the objects that the system makes on a cluster are called, and how they are found again.

run object     attempt 1 has the trial's own name, as Katib's has; later ones `<trial>-<attempt>`
"""

from collections.abc import Mapping

from trialbus.kernel.ids import RunKey, parse_run_id

# On every object that a launcher makes, and on its pods: whose it is.
MANAGED_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "trialbus"
# Which installation, where several share a cluster.
INSTANCE_LABEL = "trialbus.io/instance"
RUN_LABEL = "trialbus.io/run-id"
EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"
TRIAL_LABEL = "katib.kubeflow.org/trial"


def run_object_name(trial: str, attempt: int) -> str:
    """A DNS label of at most 63 characters: trial names have at most 49."""
    return trial if attempt == 1 else f"{trial}-{attempt}"


def run_labels(instance: str, experiment: str, trial: str, run: RunKey) -> dict[str, str]:
    return {
        MANAGED_LABEL: MANAGER,
        INSTANCE_LABEL: instance,
        RUN_LABEL: str(run),
        EXPERIMENT_LABEL: experiment,
        TRIAL_LABEL: trial,
    }


def run_selector(instance: str) -> str:
    """Of all run objects, and their pods, of one installation."""
    return f"{MANAGED_LABEL}={MANAGER},{INSTANCE_LABEL}={instance},{RUN_LABEL}"


def run_of(labels: Mapping[str, str]) -> RunKey | None:
    """The run that an object stands for; None: for none of ours."""
    text = labels.get(RUN_LABEL, "")
    try:
        return parse_run_id(text)
    except ValueError:
        return None
