"""Commands: accepted means committed; the answer comes after the commit."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.commands import NOT_THERE, Verb, uid_made_by
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.contracts.envelope import CommandReply
from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.katib.template_sources import GivenTemplate, KeptTemplates
from trialbus.contracts.requests import refused_notice
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.errors import Poison, Problem, Refused, Transient
from trialbus.kernel.experiment import GONE_PHASES, Experiment, ExperimentPhase
from trialbus.kernel.limits import MAX_COMMIT_RETRIES, MAX_REMEMBERED_COMMANDS
from trialbus.kernel.spec import Place
from trialbus.ports.bus import Request
from trialbus.ports.store import Outcome, Query, Write
from trialbus.runtime import metrics
from trialbus.runtime.metric_labels import UNKNOWN
from trialbus.runtime.parts import Parts
from trialbus.runtime.template_folder import template_folder
from trialbus_experiment.app.counting import Counting
from trialbus_experiment.app.importing import Importing, counted
from trialbus_experiment.app.requests import Asked, is_of_worker, read_request
from trialbus_experiment.app.spans import commanded, created_in, with_told
from trialbus_experiment.app.warming import Warming
from trialbus_experiment.core.commands import Applied, create, delete, edit, stop, suspend
from trialbus_experiment.core.metadata import (
    MANAGED_FIELDS,
    with_budget,
    with_kept_metadata,
    with_managed_fields,
)

_EXISTS = "it exists already"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """state: what to commit over `base`, which says `before`. changed: whether it is more than the
    command's id."""

    state: Experiment
    base: Document | None = None
    before: Experiment | None = None
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """outcome: as it is counted."""

    reply: CommandReply
    outcome: str


class Commanding:
    """Answers commands one by one: they are rare, and each may conflict with the next."""

    def __init__(
        self, parts: Parts, catalogue: Catalogue, counting: Counting | None = None
    ) -> None:
        self._parts = parts
        self._counting = counting or Counting(parts.telemetry, parts.clock)
        self._catalogue = catalogue
        self._tracing = parts.telemetry.tracing
        self._templates = template_folder(parts.settings)
        on_cluster = parts.settings.place == "kubernetes"
        self._place = Place.CLUSTER if on_cluster else Place.ONE_MACHINE
        self._importing = Importing(parts.store, parts.bus)
        self._warming = Warming(parts.store, catalogue)

    async def respond(self, requests: Sequence[Request]) -> Sequence[bytes | None]:
        """One `CommandReply` for each, in order; None for words of workers."""
        return [await self._reply(request) for request in requests]

    async def _reply(self, request: Request) -> bytes | None:
        if is_of_worker(request):
            return None
        if not self._tracing.on:
            return (await self._answer(request)).to_bytes()
        with commanded(self._tracing, request):
            return (await self._answer(request)).to_bytes()

    async def _answer(self, request: Request) -> CommandReply:
        asked = None
        try:
            asked = read_request(request)
            answered = await self._handle(asked)
        except (Poison, Refused) as error:
            problems = (
                error.problems
                if isinstance(error, Refused)
                else (Problem(field="", message=str(error)),)
            )
            self._count(asked, "refused")
            await self._tell_refused(request, asked, problems)
            return CommandReply.refused(problems)
        self._count(asked, answered.outcome)
        reply = answered.reply
        if reply.uid is not None and not asked.command.dry_run:
            self._parts.nudge([reply.uid])
        if asked.event_id is not None:
            reply = reply.model_copy(update={"id": asked.event_id})
        return reply

    def _count(self, asked: Asked | None, outcome: str) -> None:
        if asked is None or not asked.command.dry_run:
            command = UNKNOWN if asked is None else asked.verb.value
            self._parts.telemetry.add(metrics.COMMANDS, command=command, outcome=outcome)

    async def _tell_refused(
        self, request: Request, asked: Asked | None, problems: Sequence[Problem]
    ) -> None:
        """Names that are none are told to nobody."""
        now, command, uid = self._parts.clock.now(), "", None
        if asked is not None:
            command, uid = asked.event_id or asked.command.id, asked.command.uid
        notice = refused_notice(request, problems, now, command=command, uid=uid)
        if notice is not None:
            await self._parts.outbox.publish_notices([notice])

    async def _handle(self, asked: Asked) -> _Answered:
        for _ in range(MAX_COMMIT_RETRIES):
            document = await self._living(asked)
            if (earlier := await self._earlier(asked, document)) is not None:
                return _Answered(reply=earlier, outcome="repeated")
            if asked.verb is Verb.IMPORT and document is not None:
                await self._importing.write(asked.command, document)
            write = self._decide(asked, document)
            if isinstance(write, _Answered):
                return write
            if write.base is None:
                warm = await self._warming.warmed(write.state, dry_run=asked.command.dry_run)
                write = replace(write, state=created_in(self._tracing, warm))
            else:
                write = replace(write, state=with_told(self._tracing, write.state))
            if asked.command.dry_run:
                return self._done(asked, write.state.id, changed=write.changed)
            outcome = await self._commit(write.base, write.state)
            if outcome is Outcome.DONE:
                state = write.state
                self._counting.committed(write.before, state)
                self._parts.outbox.offer(EXPERIMENTS.name, state.id, state.outbox, urgent=True)
                return self._done(asked, state.id, changed=write.changed)
            if write.base is None and outcome is Outcome.CONFLICT:
                reply = await self._repeated(asked, write.state.id)
                return _Answered(reply=reply, outcome="repeated")
        raise Transient(f"{asked.alive_name}: lost every compare-and-set race")

    def _decide(self, asked: Asked, document: Document | None) -> _Answered | _Wanted:
        """What to commit, or the answer when nothing is to be committed."""
        now = self._parts.clock.now()
        if document is None:
            if asked.command.uid is not None:
                return _stale("deleted by now")
            if asked.verb is Verb.APPLY and asked.command.revision in (None, NOT_THERE):
                applied = self._applied(asked, None)
                return _Wanted(state=create(applied, now))
            missing = f"there is no experiment {asked.alive_name}"
            raise Refused([Problem(field="metadata.name", message=missing)])
        state = EXPERIMENT.decode(document)
        if (answer := self._precluded(asked, state)) is not None:
            return answer
        kept = self._parts.outbox.unsent(EXPERIMENTS.name, state.id, state.outbox)
        lean = replace(state, outbox=kept, outbox_at=state.outbox_at if kept else None)
        after = self._changed(asked, lean, now)
        if after is lean and state.ended:
            return self._done(asked, state.id, changed=False)
        # Remembered even if it changes nothing: at its late repeat it might.
        taken = (*state.commands, asked.command.id)[-MAX_REMEMBERED_COMMANDS:]
        written = replace(after, version=state.version + 1, commands=taken)
        return _Wanted(state=written, base=document, before=state, changed=after is not lean)

    def _precluded(self, asked: Asked, state: Experiment) -> _Answered | None:
        """The answer to a command that is not for this experiment, or not for it as it is now."""
        command = asked.command
        if command.uid not in (None, state.id):
            return _stale("another experiment by now")
        if _took(command.id, state.id, state.commands):
            return _Answered(reply=self._accepted(asked, state.id), outcome="repeated")
        if command.revision not in (None, state.revision):
            return _stale("somebody has edited it since" if command.revision else _EXISTS)
        return None

    def _changed(self, asked: Asked, state: Experiment, now: float) -> Experiment:
        match asked.verb:
            case Verb.APPLY:
                applied = self._applied(asked, state)
                # The folder of the file is no part of what was tuned: the first one stays.
                spec = replace(applied.spec, working_dir=state.spec.working_dir)
                return edit(state, replace(applied, spec=spec), now).state
            case Verb.DELETE:
                return delete(state, now, keep_history=asked.command.keep_history).state
            case Verb.SUSPEND | Verb.RESUME:
                return suspend(state, now, suspended=asked.verb is Verb.SUSPEND).state
            case Verb.STOP:
                return stop(state, now).state
            case Verb.EDIT:
                return self._edited(asked, state, now)
            case Verb.IMPORT:
                return counted(asked.command, state, now)

    def _edited(self, asked: Asked, state: Experiment, now: float) -> Experiment:
        """The object that is there, with other budgets."""
        if not asked.command.edit:
            raise Refused([Problem(field="edit", message="what is to be changed is needed")])
        whole = asked.command.model_copy(
            update={
                "object": with_budget(state.source, asked.command.edit),
                "exact": True,
                "managed_fields": state.source.get("metadata", {}).get(MANAGED_FIELDS),
            }
        )
        applied = self._applied(replace(asked, command=whole), state)
        spec = replace(applied.spec, working_dir=state.spec.working_dir)
        return edit(state, replace(applied, spec=spec), now).state

    def _applied(self, asked: Asked, there: Experiment | None) -> Applied:
        source: Mapping[str, Any] = {} if there is None else there.source
        command = asked.command
        if command.object is None:
            raise Refused([Problem(field="object", message="an Experiment object is needed")])
        wanted = command.object if command.exact else with_kept_metadata(command.object, source)
        given = self._templates if command.template is None else GivenTemplate(command.template)
        parsed = parse_experiment(
            wanted,
            catalogue=self._catalogue,
            templates=KeptTemplates(there, given),
            place=self._place,
        )
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
        fields = command.managed_fields
        if not command.exact:
            fields = source.get("metadata", {}).get(MANAGED_FIELDS)
        return Applied(
            uid=uid_made_by(command.id),
            namespace=parsed.namespace,
            name=parsed.name,
            spec=replace(parsed.spec, working_dir=command.working_dir),
            source=with_managed_fields(parsed.source, fields),
        )

    def _accepted(self, asked: Asked, uid: str, *, changed: bool = True) -> CommandReply:
        return CommandReply(accepted=True, id=asked.command.id, uid=uid, changed=changed)

    def _done(self, asked: Asked, uid: str, *, changed: bool) -> _Answered:
        return _Answered(reply=self._accepted(asked, uid, changed=changed), outcome="done")

    async def _earlier(self, asked: Asked, living: Document | None) -> CommandReply | None:
        """The answer to a command that a namesake took before it was deleted: a late repeat of it
        must not reach whoever has the name now."""
        command = asked.command
        if living is not None and _took(command.id, living["_id"], living["commands"]):
            return None
        gone = await self._parts.store.find(
            EXPERIMENTS.name,
            Query(
                equals={"namespace": asked.namespace, "name": asked.name},
                among={"phase": [phase.value for phase in GONE_PHASES]},
                fields=("commands",),
            ),
        )
        for namesake in gone:
            if uid_made_by(command.id) == namesake["_id"]:
                return _created_and_deleted()
            if command.id in namesake["commands"]:
                return self._accepted(asked, str(namesake["_id"]), changed=False)
        return None

    async def _living(self, asked: Asked) -> Document | None:
        found = await self._parts.store.find(
            EXPERIMENTS.name, Query(equals={"alive_name": asked.alive_name}, limit=1)
        )
        return found[0] if found else None

    async def _commit(self, base: Document | None, state: Experiment) -> Outcome:
        write = Write(base=base, document=EXPERIMENT.encode(state))
        return (await self._parts.store.commit(EXPERIMENTS.name, [write]))[0]

    async def _repeated(self, asked: Asked, uid: str) -> CommandReply:
        """The command came before: its experiment is there, or has been deleted since."""
        documents = await self._parts.store.get_many(EXPERIMENTS.name, [uid])
        gone = uid not in documents or ExperimentPhase(documents[uid]["phase"]) in GONE_PHASES
        return _created_and_deleted() if gone else self._accepted(asked, uid)


def _stale(message: str) -> _Answered:
    reply = CommandReply(accepted=False, stale=True, message=message)
    return _Answered(reply=reply, outcome="stale")


def _took(command_id: str, uid: str, commands: Collection[str]) -> bool:
    """Whether this experiment has had the command before."""
    return command_id in commands or uid_made_by(command_id) == uid


def _created_and_deleted() -> CommandReply:
    return CommandReply(accepted=False, stale=True, message="created and deleted before")
