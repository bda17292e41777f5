"""Events that pipelines post: each is one command, taken once, and awaited if asked."""

from dataclasses import dataclass
from typing import Any

from trialbus.contracts.cloud_events import CloudEvent
from trialbus.contracts.command_events import CommandEvent, read_command
from trialbus.contracts.commands import Verb
from trialbus.contracts.work import WorkReply
from trialbus.contracts.work_events import is_work, read_work_event
from trialbus.kernel.errors import NotThere
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.commanding import Accepted, Commanding, Conditions
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.experiment_ends import ExperimentEnds
from trialbus_gateway.app.questions import Questions
from trialbus_gateway.app.working import Working


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """id: of the event. created: by this event. changed: there was anything to do."""

    id: str
    namespace: str
    name: str
    uid: str
    created: bool
    changed: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "namespace": self.namespace,
            "experiment": self.name,
            "uid": self.uid,
            "created": self.created,
            "changed": self.changed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A worker's word, with its answer. id: of the event."""

    id: str
    namespace: str
    name: str
    result: WorkReply

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "namespace": self.namespace,
            "experiment": self.name,
            "result": self.result.model_dump(mode="json", exclude_none=True),
        }


class Ingress:
    def __init__(
        self, parts: Parts, commanding: Commanding, questions: Questions, working: Working
    ) -> None:
        self._clock = parts.clock
        self._documents = Documents(parts.store)
        self._commanding = commanding
        self._questions = questions
        self._working = working
        self.ends = ExperimentEnds(parts)

    async def take(self, event: CloudEvent) -> Taken | Worked:
        """Returns when it is committed. The same event again (source and id) has no second effect.

        Raises Refused, NotThere, AnotherByNow, TooLarge, Transient.
        """
        return await (self._worked(event) if is_work(event) else self._taken(event))

    async def _worked(self, event: CloudEvent) -> Worked:
        asked = read_work_event(event)
        result = await self._working.take(asked)
        return Worked(id=event.id, namespace=asked.namespace, name=asked.name, result=result)

    async def _taken(self, event: CloudEvent) -> Taken:
        asked = read_command(event)
        accepted = await self._obeyed(asked)
        return Taken(
            id=asked.id,
            namespace=asked.namespace,
            name=asked.name,
            uid=accepted.uid,
            created=accepted.created,
            changed=accepted.created or accepted.changed,
        )

    async def _obeyed(self, asked: CommandEvent) -> Accepted:
        command = asked.command
        only = Conditions(uid=command.uid, revision=command.revision)
        if command.object is not None:
            return await self._commanding.apply(
                asked.namespace,
                asked.name,
                command.object,
                working_dir=command.working_dir,
                command_id=command.id,
                only=only,
            )
        return await self._commanding.tell(
            asked.namespace,
            asked.name,
            Verb(asked.verb),
            command_id=command.id,
            only=only,
            keep_history=command.keep_history,
            edit=command.edit,
            portion=command.portion,
        )

    async def result(self, taken: Taken, timeout_s: float) -> dict[str, Any] | None:
        """How the experiment has ended, as `progress` tells it; None: it has not, in this time, or
        it was deleted."""
        deadline = self._clock.monotonic() + timeout_s
        with self.ends.awaited(taken.uid) as end:
            while True:
                found = await self._documents.experiments([taken.uid])
                if taken.uid not in found:
                    return None
                if found[taken.uid].ended:
                    return await self._progress(taken)
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0:
                    return None
                await end.until_next_look(left_s)

    async def _progress(self, taken: Taken) -> dict[str, Any] | None:
        try:
            told = await self._questions.progress(taken.namespace, taken.name)
        except NotThere:
            return None
        return told if told["uid"] == taken.uid else None
