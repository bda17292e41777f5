"""Commands: accepted means committed; the answer comes after the commit."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trialbus.contracts import subjects
from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.contracts.envelope import CommandReply
from trialbus.contracts.katib.spec import parse_experiment
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.errors import Poison, Problem, Refused, Transient
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.limits import MAX_COMMIT_RETRIES, MAX_REMEMBERED_COMMANDS
from trialbus.ports.bus import Request
from trialbus.ports.store import Outcome, Query, Write
from trialbus.runtime.parts import Parts
from trialbus_experiment.core.commands import Applied, create, delete, edit, suspend

Change = Callable[[Experiment], Experiment]

# Uids are made from the creating command's id: the same command creates the same experiment.
_UIDS = uuid.UUID("5b1b8b5e-4d0c-5f7e-9a0f-1a2b3c4d5e6f")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    verb: Verb
    namespace: str
    name: str
    command: Command

    @property
    def alive_name(self) -> str:
        return f"{self.namespace}/{self.name}"


class Commanding:
    """Answers commands one by one: they are rare, and each may conflict with the next."""

    def __init__(self, parts: Parts, catalogue: Catalogue) -> None:
        self._parts = parts
        self._catalogue = catalogue

    async def respond(self, requests: Sequence[Request]) -> Sequence[bytes]:
        """One `CommandReply` for each, in order."""
        return [(await self._answer(request)).to_bytes() for request in requests]

    async def _answer(self, request: Request) -> CommandReply:
        try:
            asked = _parse(request)
            reply = await self._handle(asked)
        except Poison as poison:
            return CommandReply.refused((Problem(field="", message=str(poison)),))
        except Refused as refused:
            return CommandReply.refused(refused.problems)
        if reply.uid is not None:
            self._parts.nudge([reply.uid])
        return reply

    async def _handle(self, asked: _Asked) -> CommandReply:
        for _ in range(MAX_COMMIT_RETRIES):
            document = await self._living(asked)
            write = self._decide(asked, document)
            if isinstance(write, CommandReply):
                return write
            state, base = write
            outcome = await self._commit(base, state)
            if outcome is Outcome.DONE:
                self._parts.outbox.offer(EXPERIMENTS.name, state.id, state.outbox, urgent=True)
                return CommandReply(accepted=True, id=asked.command.id, uid=state.id)
            if base is None and outcome is Outcome.CONFLICT:
                return await self._repeated(asked, state.id)
        raise Transient(f"{asked.alive_name}: lost every compare-and-set race")

    def _decide(
        self, asked: _Asked, document: Document | None
    ) -> CommandReply | tuple[Experiment, Document | None]:
        """What to commit, or the answer when nothing is to be committed."""
        now = self._parts.clock.now()
        if asked.verb is Verb.APPLY:
            applied = self._applied(asked)
            if document is None:
                return create(applied, now), None
            return self._changed(asked, document, lambda state: _edit(state, applied, now))
        if document is None:
            missing = f"there is no experiment {asked.alive_name}"
            raise Refused([Problem(field="metadata.name", message=missing)])
        match asked.verb:
            case Verb.DELETE:
                return self._changed(asked, document, lambda state: delete(state, now).state)
            case Verb.SUSPEND | Verb.RESUME:
                wanted = asked.verb is Verb.SUSPEND
                return self._changed(
                    asked, document, lambda state: suspend(state, now, suspended=wanted).state
                )

    def _changed(
        self, asked: _Asked, document: Document, change: Change
    ) -> CommandReply | tuple[Experiment, Document | None]:
        state = EXPERIMENT.decode(document)
        if asked.command.uid not in (None, state.id):
            return CommandReply(accepted=False, stale=True, message="another experiment by now")
        if asked.command.id in state.commands or _uid_made_by(asked.command.id) == state.id:
            return CommandReply(accepted=True, id=asked.command.id, uid=state.id)
        kept = self._parts.outbox.unsent(EXPERIMENTS.name, state.id, state.outbox)
        lean = replace(state, outbox=kept, outbox_at=state.outbox_at if kept else None)
        after = change(lean)
        if after is lean and state.ended:
            return CommandReply(accepted=True, id=asked.command.id, uid=state.id)
        # Remembered even if it changes nothing: at its late repeat it might.
        taken = (*state.commands, asked.command.id)[-MAX_REMEMBERED_COMMANDS:]
        return replace(after, version=state.version + 1, commands=taken), document

    def _applied(self, asked: _Asked) -> Applied:
        if asked.command.object is None:
            raise Refused([Problem(field="object", message="an Experiment object is needed")])
        parsed = parse_experiment(asked.command.object, catalogue=self._catalogue)
        if (parsed.namespace, parsed.name) != (asked.namespace, asked.name):
            raise Refused(
                [
                    Problem(
                        field="metadata.name",
                        message=f"the object is {parsed.namespace}/{parsed.name}, "
                        f"the subject says {asked.alive_name}",
                    )
                ]
            )
        return Applied(
            uid=_uid_made_by(asked.command.id),
            namespace=parsed.namespace,
            name=parsed.name,
            spec=replace(parsed.spec, working_dir=asked.command.working_dir),
            source=parsed.source,
        )

    async def _living(self, asked: _Asked) -> Document | None:
        found = await self._parts.store.find(
            EXPERIMENTS.name, Query(equals={"alive_name": asked.alive_name}, limit=1)
        )
        return found[0] if found else None

    async def _commit(self, base: Document | None, state: Experiment) -> Outcome:
        write = Write(base=base, document=EXPERIMENT.encode(state))
        return (await self._parts.store.commit(EXPERIMENTS.name, [write]))[0]

    async def _repeated(self, asked: _Asked, uid: str) -> CommandReply:
        """The command came before: its experiment is there, or has been deleted since."""
        documents = await self._parts.store.get_many(EXPERIMENTS.name, [uid])
        gone = uid not in documents or documents[uid]["phase"] in (
            ExperimentPhase.DELETED.value,
            ExperimentPhase.DELETING.value,
        )
        if gone:
            return CommandReply(accepted=False, stale=True, message="created and deleted before")
        return CommandReply(accepted=True, id=asked.command.id, uid=uid)


def _uid_made_by(command_id: str) -> str:
    return str(uuid.uuid5(_UIDS, command_id))


def _edit(state: Experiment, applied: Applied, now: float) -> Experiment:
    """The folder of the file is no part of what was tuned: the first one stays."""
    spec = replace(applied.spec, working_dir=state.spec.working_dir)
    return edit(state, replace(applied, spec=spec), now).state


def _parse(request: Request) -> _Asked:
    subject = subjects.parse_command(request.subject)
    try:
        verb = Verb(subject.verb)
    except ValueError:
        known = ", ".join(verb.value for verb in Verb)
        raise Poison(f"unknown command {subject.verb!r}: one of {known}") from None
    return _Asked(
        verb=verb,
        namespace=subject.namespace,
        name=subject.experiment,
        command=Command.from_bytes(request.data),
    )
