"""Katib's gRPC services at the door: who may call what, and about which trial.

Trials have names alone there: whose one is, is looked up as the caller sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from trialbus.adapters.grpc.handlers import descriptor_of, request_type
from trialbus.kernel.access import Action
from trialbus.kernel.errors import NotThere, Transient
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.access.route_guard import FindTrial
from trialbus_gateway.app import reach
from trialbus_gateway.app.failures import Forbidden, TooMany, Unauthenticated, Unreadable
from trialbus_gateway.core.identities import Identity

REFUSALS: Mapping[type[Exception], grpc.StatusCode] = {
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    NotThere: grpc.StatusCode.NOT_FOUND,
    Unreadable: grpc.StatusCode.INVALID_ARGUMENT,
    TooMany: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Transient: grpc.StatusCode.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNeed:
    """action: of the role. of_trial: the request names a trial, in `trial_name`."""

    action: Action
    of_trial: bool = False


# By service and method. What is not here is for administrators.
CALL_NEEDS: Mapping[str, CallNeed] = {
    "DBManager/ReportObservationLog": CallNeed(action=Action.REPORT, of_trial=True),
    "DBManager/GetObservationLog": CallNeed(action=Action.REPORT, of_trial=True),
    "DBManager/DeleteObservationLog": CallNeed(action=Action.WORK, of_trial=True),
    # What these are about comes with the request, and nothing else is looked at.
    "Suggestion/GetSuggestions": CallNeed(action=Action.WORK),
    "Suggestion/ValidateAlgorithmSettings": CallNeed(action=Action.WORK),
    "EarlyStopping/GetEarlyStoppingRules": CallNeed(action=Action.WORK),
    "EarlyStopping/ValidateEarlyStoppingSettings": CallNeed(action=Action.WORK),
    # A metrics collector of Katib's says so from inside the trial.
    "EarlyStopping/SetTrialStatus": CallNeed(action=Action.REPORT, of_trial=True),
}
_OPERATE = CallNeed(action=Action.OPERATE)


class KatibCalls:
    """Without `find_trial` there are no trials for callers who must say who they are."""

    def __init__(self, door: Door, find_trial: FindTrial | None) -> None:
        self._door = door
        self._find_trial = find_trial

    async def check(self, method: str, request: bytes, authorization: list[str], peer: str) -> None:
        """method: `/<package>.<service>/<method>`. Raises one of REFUSALS."""
        if self._door.asks:
            with self._door.telling():
                await self._check(method, request, authorization, peer)

    async def _check(
        self, method: str, request: bytes, authorization: list[str], peer: str
    ) -> None:
        identity = await self._door.identify(authorization, peer.rpartition(":")[0])
        self._door.admit(identity)
        service, _, name = method.removeprefix("/").rpartition("/")
        service = service.rpartition(".")[2]
        need = CALL_NEEDS.get(f"{service}/{name}", _OPERATE)
        with reach.acting_as(identity):
            if need.of_trial:
                await self._check_trial(identity, _trial_name(service, name, request))
            reach.demand_role(need.action)

    async def _check_trial(self, identity: Identity, trial: str) -> None:
        of_another = identity.trial is not None and identity.trial.trial != trial
        if of_another or self._find_trial is None:
            raise NotThere(f"there is no trial {trial[:100]}")
        await self._find_trial(trial)


def _trial_name(service: str, method: str, request: bytes) -> str:
    described = descriptor_of(service).methods_by_name[method]
    try:
        message: Any = request_type(described).FromString(request)
    except DecodeError as error:
        raise Unreadable("the request cannot be read") from error
    return str(message.trial_name)
