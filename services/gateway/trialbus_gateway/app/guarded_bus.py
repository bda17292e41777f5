"""The bus as the caller may use it: who may tell whom what is read from the subject.

The second of two locks: routes say what they need, and whatever leaves for another service passes
here as well, also from routes that are written later.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from trialbus.contracts.work import Reports, WorkVerb
from trialbus.kernel.access import Action
from trialbus.kernel.errors import Poison
from trialbus.ports.bus import Backlog, Bus, Inbox, Message, Request, Responder, Tail
from trialbus_gateway.app import reach
from trialbus_gateway.app.failures import Forbidden, NotThere, Unreadable
from trialbus_gateway.core.identities import Identity

# trialbus.v1.<family>.<namespace>.<experiment>...
_FAMILY, _NAMESPACE, _VERB = 2, 3, 5
_COMMANDS, _LOGS, _PUSHES = "cmd", "log", "push"
_SHIPPED = ("claim", "output")
_WORK = frozenset(verb.value for verb in WorkVerb)


class GuardedBus:
    """Takes no messages from the bus for limited callers: those wait for nobody."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            _check(message.subject, b"")
        await self._bus.publish(messages)

    def inbox(
        self, service: str, event_types: Sequence[str], partition: int
    ) -> AbstractAsyncContextManager[Inbox]:
        return self._bus.inbox(service, event_types, partition)

    async def backlog(self, service: str) -> Backlog:
        return await self._bus.backlog(service)

    async def request(self, request: Request, *, timeout_s: float) -> bytes:
        """Raises NotThere, Forbidden as well."""
        _check(request.subject, request.data)
        return await self._bus.request(request, timeout_s=timeout_s)

    def serve(
        self,
        subject: str,
        queue: str,
        responder: Responder,
        *,
        max_group: int,
        max_groups: int = 1,
        gather_s: float = 0.0,
    ) -> AbstractAsyncContextManager[None]:
        return self._bus.serve(
            subject,
            queue,
            responder,
            max_group=max_group,
            max_groups=max_groups,
            gather_s=gather_s,
        )

    def tail(self, subject: str, *, from_start: bool) -> AbstractAsyncContextManager[Tail]:
        """Raises NotThere, Forbidden."""
        if reach.current().is_limited:
            reach.demand(Action.READ, subject.split(".")[_NAMESPACE])
        return self._bus.tail(subject, from_start=from_start)

    async def provision(self) -> None:
        await self._bus.provision()

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def close(self) -> None:
        await self._bus.close()


def _check(subject: str, data: bytes) -> None:
    identity = reach.current()
    words = subject.split(".")
    family = words[_FAMILY] if len(words) > _FAMILY else ""
    if family == _LOGS:
        # Of a run that was found in the store, as far as the caller sees.
        reach.demand_role(Action.READ)
    elif family in (_COMMANDS, _PUSHES) and len(words) > _VERB:
        action = action_of(words[_VERB]) if family == _COMMANDS else Action.REPORT
        if identity.trial is None:
            reach.demand(action, words[_NAMESPACE])
        else:
            _check_trial(identity, words, action, data)
    elif family in _SHIPPED and len(words) > _VERB and identity.trial is not None:
        _check_trial(identity, words, Action.REPORT, data)
    elif identity.is_limited:
        raise Forbidden("this is not for tenants")


def action_of(verb: str) -> Action:
    """What a command's verb is to roles."""
    return Action.WORK if verb in _WORK else Action.COMMAND


def _check_trial(identity: Identity, words: Sequence[str], action: Action, data: bytes) -> None:
    """Of its own token: only reports, and about itself. Raises NotThere, Forbidden, Unreadable."""
    grant = identity.trial
    assert grant is not None
    if tuple(words[_NAMESPACE : _NAMESPACE + 2]) != (grant.namespace, grant.experiment):
        raise NotThere(f"there is no experiment {words[_NAMESPACE]}/{words[_NAMESPACE + 1]}")
    if words[_FAMILY] == _PUSHES or words[_FAMILY] in _SHIPPED:
        named = {(words[_VERB], grant.attempt)}
    elif words[_VERB] == WorkVerb.REPORT.value:
        try:
            named = {(it.trial, it.attempt) for it in Reports.from_bytes(data).reports}
        except Poison as error:
            raise Unreadable(f"a report: {error}") from error
    else:
        raise Forbidden(f"a trial's token may not {action}")
    if named != {(grant.trial, grant.attempt)}:
        raise NotThere("a trial's token is good for reports of that trial only")
