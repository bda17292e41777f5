"""The wrapper in a trial's pod: brought by an init container, it runs the command. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trialbus.contracts import shipping
from trialbus_trial_launcher.core.pod_templates import (
    Fields,
    PodTemplate,
    add_variables,
    add_volume,
    entries,
    items,
)

Json = Any

FOLDER = "/trialbus"
_PROGRAM = f"{FOLDER}/wrap"
_INSTALLED = "/trialbus-wrap"
_VOLUME = "trialbus-wrapper"
_CONTAINER = "trialbus-wrapper"
_USUAL_MESSAGE_PATH = "/dev/termination-log"
# It copies one file.
_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "16Mi"},
    "limits": {"cpu": "100m", "memory": "64Mi"},
}
# Of the wrapper image, for pods that would make everyone root.
_USER = 65532
_NO_RIGHTS = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapping:
    """image: with the wrapper. kind: what it ships, path: from where. variables: its own."""

    image: str
    kind: shipping.WrapKind
    path: str = ""
    variables: Mapping[str, str]


def takes_wrapper(body: Mapping[str, Json], container: str) -> bool:
    """Whether one pod at a time runs the command, and the command is known."""
    if (body.get("apiVersion"), body.get("kind")) != ("batch/v1", "Job"):
        return False
    job = body.get("spec")
    if not isinstance(job, dict) or any(
        job.get(count) not in (None, 1) for count in ("parallelism", "completions")
    ):
        return False
    template = job.get("template")
    pod = template.get("spec") if isinstance(template, dict) else None
    containers = pod.get("containers") if isinstance(pod, dict) else None
    for it in containers if isinstance(containers, list) else ():
        if isinstance(it, dict) and it.get("name") == container:
            command = it.get("command")
            return isinstance(command, list) and bool(command)
    return False


def wrap(template: PodTemplate, container: Fields, wrapping: Wrapping) -> None:
    """The command becomes the wrapper's; arguments stay where they are."""
    add_volume(template, {"name": _VOLUME, "emptyDir": {}})
    items(template.pod, "initContainers").insert(0, _installing(template, wrapping.image))
    items(container, "volumeMounts").append({"name": _VOLUME, "mountPath": FOLDER})
    container["command"] = [_PROGRAM, "--", *container["command"]]
    told = {
        **wrapping.variables,
        shipping.KIND_VARIABLE: wrapping.kind.value,
        shipping.TERMINATION_LOG_VARIABLE: container.get("terminationMessagePath")
        or _USUAL_MESSAGE_PATH,
    }
    if wrapping.path:
        told[shipping.PATH_VARIABLE] = wrapping.path
    add_variables(container, told)
    pod_uid = {"fieldRef": {"fieldPath": "metadata.uid"}}
    container["env"] = [
        {"name": shipping.HOLDER_VARIABLE, "valueFrom": pod_uid},
        *(it for it in container["env"] if it.get("name") != shipping.HOLDER_VARIABLE),
    ]


def _installing(template: PodTemplate, image: str) -> Fields:
    context: Fields = dict(_NO_RIGHTS)
    if entries(template.pod, "securityContext").get("runAsUser") == 0:
        context["runAsUser"] = _USER
    return {
        "name": _CONTAINER,
        "image": image,
        "command": [_INSTALLED, "install", FOLDER],
        "resources": _RESOURCES,
        "securityContext": context,
        "volumeMounts": [{"name": _VOLUME, "mountPath": FOLDER}],
    }
