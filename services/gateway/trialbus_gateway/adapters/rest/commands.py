"""Changing experiments: apply, suspend, resume, stop, delete."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from trialbus.contracts.commands import Verb
from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.bodies import ApplyBody, apply_body, command_names
from trialbus_gateway.adapters.rest.known_parameters import (
    COMMAND,
    EXAMPLE_EXPERIMENT,
    EXAMPLE_NAMESPACE,
    EXPERIMENT,
    EXPERIMENT_PATH,
    experiment_of,
)
from trialbus_gateway.adapters.rest.operations import (
    JSON,
    Answer,
    Body,
    DescribedRoute,
    Endpoint,
    Example,
    Operation,
    described,
)
from trialbus_gateway.adapters.rest.parameters import Flag, Parameter
from trialbus_gateway.adapters.rest.shapes import AcceptedShape, AppliedShape
from trialbus_gateway.app.commanding import Accepted, Commanding, Conditions

_KEEP = Flag(name="keepHistory", about="Its trials, metrics and logs stay to be read.")
_FAILURES = (404, 409, 422)
_EXPERIMENT_OBJECT: Mapping[str, Any] = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": EXAMPLE_EXPERIMENT, "namespace": EXAMPLE_NAMESPACE},
    "spec": {
        "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
        "algorithm": {"algorithmName": "random"},
        "parallelTrialCount": 2,
        "maxTrialCount": 5,
        "parameters": [
            {
                "name": "--lr",
                "parameterType": "double",
                "feasibleSpace": {"min": "0.1", "max": "0.9"},
            }
        ],
    },
}

APPLY = Operation(
    id="applyExperiment",
    tag="experiments",
    summary="Create an experiment, or change it",
    about="Labels and annotations that the object lacks stay, except those that begin with "
    "`trialbus.io/`. Only `object` is needed in the body, which is at most 1 MiB; an Experiment "
    "that does not fit into one message of the bus (256 KiB) is 413.",
    parameters=EXPERIMENT,
    body=Body(about="The Experiment, as Katib writes it.", shapes={JSON: ApplyBody}),
    answers={
        200: Answer(about="It was there, and is as it was sent.", shape=AppliedShape),
        201: Answer(about="It was created.", shape=AppliedShape),
    },
    failures=(404, 409, 422),
    examples=[
        Example(
            name="random",
            about="Five trials of a random search",
            path={"name": "second"},
            body={
                "object": {
                    **_EXPERIMENT_OBJECT,
                    "metadata": {"name": "second", "namespace": EXAMPLE_NAMESPACE},
                }
            },
            status=201,
        )
    ],
)
DELETE = Operation(
    id="deleteExperiment",
    tag="experiments",
    summary="Delete an experiment",
    about="Its trials are stopped, its documents removed.",
    parameters=(*EXPERIMENT, *COMMAND, _KEEP),
    answers={202: Answer(about="It is on its way.", shape=AcceptedShape)},
    failures=_FAILURES,
    examples=[
        Example(
            name="keep",
            about="Keep its history",
            query={"keepHistory": True, "id": "nightly-7-delete"},
            status=202,
        )
    ],
)


def _telling(verb: Verb, id_: str, summary: str, about: str = "") -> Operation:
    parameters: tuple[Parameter, ...] = (*EXPERIMENT, *COMMAND)
    return Operation(
        id=id_,
        tag="experiments",
        summary=summary,
        about=about,
        parameters=parameters,
        answers={202: Answer(about="It has been taken.", shape=AcceptedShape)},
        failures=_FAILURES,
        examples=[Example(name=verb.value, about=summary, status=202)],
    )


SUSPEND = _telling(
    Verb.SUSPEND, "suspendExperiment", "Suspend an experiment", "Its running trials are stopped."
)
RESUME = _telling(Verb.RESUME, "resumeExperiment", "Resume a suspended experiment")
STOP = _telling(
    Verb.STOP,
    "stopExperiment",
    "End an experiment with what it has found",
    "`Succeeded` with the reason `ExperimentStopped`, or `Failed` if there is no result; its "
    "trials are stopped.",
)


class Commands:
    def __init__(self, commanding: Commanding) -> None:
        self._commanding = commanding

    def routes(self) -> list[DescribedRoute]:
        tell, path = self._telling, EXPERIMENT_PATH
        return [
            described("PUT", path, self._apply, APPLY),
            described("DELETE", path, tell(Verb.DELETE), DELETE),
            described("POST", f"{path}/suspend", tell(Verb.SUSPEND), SUSPEND),
            described("POST", f"{path}/resume", tell(Verb.RESUME), RESUME),
            described("POST", f"{path}/stop", tell(Verb.STOP), STOP),
        ]

    async def _apply(self, request: Request) -> Response:
        namespace, name = experiment_of(request)
        body = await apply_body(request)
        accepted = await self._commanding.apply(
            namespace,
            name,
            body.object,
            working_dir=body.working_dir,
            command_id=body.id,
            only=Conditions(uid=body.uid),
        )
        content = {
            **_accepted(accepted),
            "created": accepted.created,
            "changed": accepted.created or accepted.changed,
        }
        return JsonAnswer(content, status_code=201 if accepted.created else 200)

    def _telling(self, verb: Verb) -> Endpoint:
        async def tell(request: Request) -> Response:
            namespace, name = experiment_of(request)
            names = command_names(request)
            accepted = await self._commanding.tell(
                namespace,
                name,
                verb,
                command_id=names.id,
                only=Conditions(uid=names.uid),
                keep_history=_KEEP.of(request),
            )
            return JsonAnswer(_accepted(accepted), status_code=202)

        return tell


def _accepted(accepted: Accepted) -> dict[str, str]:
    return {"id": accepted.id, "uid": accepted.uid}
