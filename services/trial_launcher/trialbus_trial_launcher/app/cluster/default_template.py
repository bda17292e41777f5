"""What runs of an experiment that has no template: a Job of the configured image."""

from trialbus.contracts.katib.defaults import JOB_FAILURE, JOB_SUCCESS
from trialbus.kernel.spec import ExperimentSpec, TrialParameter, TrialTemplate

# The bundled trainer, as that of one machine; written out, so that the wrapper can run it.
_COMMAND = ("python", "-P", "-m", "trialbus.local.trainers.digits")
_CONTAINER = "training-container"


def default_template(spec: ExperimentSpec, image: str) -> TrialTemplate:
    """Every parameter becomes `name=value`, as it does on one machine."""
    names = spec.assignment_names
    container = {
        "name": _CONTAINER,
        "image": image,
        "command": list(_COMMAND),
        "args": [f"{name}=${{trialParameters.{name}}}" for name in names],
    }
    pod = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    return TrialTemplate(
        trial_spec={"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}},
        parameters=tuple(TrialParameter(name=name, reference=name) for name in names),
        primary_container=_CONTAINER,
        success_condition=JOB_SUCCESS,
        failure_condition=JOB_FAILURE,
    )
