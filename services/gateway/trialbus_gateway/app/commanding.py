"""Commands over the bus: repeated under one id until they are answered."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import PydanticSerializationError

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command, Verb
from trialbus.contracts.envelope import CommandReply
from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.contracts.katib.template_sources import (
    GivenTemplate,
    KeptTemplates,
    TemplateReference,
    TemplatesElsewhere,
    TemplateSource,
    reference_in,
)
from trialbus.kernel.access import Action
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.errors import Poison, Problem, Refused, Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.job_templates import read_job
from trialbus.kernel.limits import REQUEST_TIMEOUT_S
from trialbus.kernel.local_processes import command_problems, needed_files
from trialbus.kernel.spec import Place, TrialTemplate
from trialbus.ports.bus import Request
from trialbus.runtime.parts import Parts
from trialbus.runtime.template_folder import template_folder
from trialbus.runtime.templates import local_images
from trialbus_gateway.app import reach
from trialbus_gateway.app.documents import Documents, check_name
from trialbus_gateway.app.failures import AnotherByNow, NotThere, TooLarge, Unreadable
from trialbus_gateway.app.repeating import ANSWER_DEADLINE_S, answered
from trialbus_gateway.app.runnable import check_runnable
from trialbus_gateway.app.seen_templates import SeenTemplates

# The text of a template that an object only names. Raises Refused, Transient.
FetchTemplate = Callable[[TemplateReference], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """created: the experiment was not there before. changed: there was anything to do."""

    id: str
    uid: str
    created: bool = False
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which a command is obeyed, and how.

    uid: only this experiment. revision: only if nobody has edited it since. exact: labels and
    annotations that the object lacks go. managed_fields: Kubernetes', to be kept with it.
    dry_run: it is judged completely, and nothing is written.
    """

    uid: str | None = None
    revision: int | None = None
    exact: bool = False
    managed_fields: list[dict[str, Any]] | None = None
    dry_run: bool = False


class Commanding:
    """attempt_s: how long one request waits before it is repeated. fetch_template: where templates
    are not in a folder of ours, but have to be asked for."""

    def __init__(
        self,
        parts: Parts,
        catalogue: Catalogue,
        *,
        deadline_s: float = ANSWER_DEADLINE_S,
        attempt_s: float = REQUEST_TIMEOUT_S,
        fetch_template: FetchTemplate | None = None,
    ) -> None:
        self._parts = parts
        self._catalogue = catalogue
        self._images = local_images(parts.settings)
        elsewhere = fetch_template is not None
        folder = TemplatesElsewhere() if elsewhere else template_folder(parts.settings)
        self._templates = SeenTemplates(folder)
        self._fetch_template = fetch_template
        on_cluster = parts.settings.place == "kubernetes"
        self._place = Place.CLUSTER if on_cluster else Place.ONE_MACHINE
        self._documents = Documents(parts.store)
        self._deadline_s = deadline_s
        self._attempt_s = attempt_s

    async def apply(
        self,
        namespace: str,
        name: str,
        experiment: dict[str, Any],
        *,
        working_dir: str | None = None,
        command_id: str | None = None,
        only: Conditions = Conditions(),
    ) -> Accepted:
        """Raises Refused with every problem; the experiment service judges again."""
        check_name("namespace", namespace)
        check_name("name", name)
        reach.demand(Action.COMMAND, namespace)
        before = await self._living(namespace, name)
        template = await self._fetched(experiment, before)
        parsed = self.judge(experiment, before, template)
        if (parsed.namespace, parsed.name) != (namespace, name):
            message = f"the object is {parsed.namespace}/{parsed.name}, not {namespace}/{name}"
            raise Refused([Problem(field="metadata.name", message=message)])
        if before is None and self._place is Place.CLUSTER:
            await check_runnable(self._parts, parsed)
        command = Command(
            id=command_id or self._parts.ids.new_id(),
            object=experiment,
            working_dir=working_dir,
            uid=only.uid,
            revision=only.revision,
            exact=only.exact,
            managed_fields=only.managed_fields,
            dry_run=only.dry_run,
            template=template,
        )
        accepted = await self._send(namespace, name, Verb.APPLY, command)
        is_other = before is None or accepted.uid != before.id
        return replace(accepted, created=is_other and accepted.changed)

    async def _fetched(self, experiment: dict[str, Any], there: Experiment | None) -> str | None:
        """The template that it names, if that has to be asked for. Raises Refused, Transient."""
        reference = reference_in(experiment) if self._fetch_template is not None else None
        if reference is None or KeptTemplates(there, None).has(reference):
            return None
        # Refuses what is not the caller's to see.
        self._templates.find(reference)
        assert self._fetch_template is not None
        return await self._fetch_template(reference)

    def judge(
        self,
        experiment: dict[str, Any],
        there: Experiment | None,
        template: str | None = None,
    ) -> ParsedExperiment:
        """there: the experiment that has the name now. template: what it names, if that was asked
        for. Raises Refused with every problem that the object has by itself."""
        given: TemplateSource = self._templates if template is None else GivenTemplate(template)
        parsed = parse_experiment(
            experiment,
            catalogue=self._catalogue,
            templates=KeptTemplates(there, given),
            place=self._place,
        )
        one_machine = self._place is Place.ONE_MACHINE
        if there is None and one_machine and (problems := self._unstartable(parsed.spec.template)):
            raise Refused(problems)
        return parsed

    def _unstartable(self, template: TrialTemplate | None) -> tuple[Problem, ...]:
        """Of a new Job that would run here: a file alone does not say what images are."""
        if template is None or template.trial_spec.get("kind") != "Job":
            return ()
        if problems := command_problems(template, self._images):
            return problems
        image = read_job(template).image
        return tuple(
            Problem(
                field=file.field,
                message=f"there is no {file.path!r}{self._images.hint(file.path, image)}",
            )
            for file in needed_files(template, self._images)
            # Where we may not look, the trial may not either.
            if not os.path.exists(file.path)  # noqa: PTH110 - Path.exists raises there
        )

    async def tell(
        self,
        namespace: str,
        name: str,
        verb: Verb,
        *,
        command_id: str | None = None,
        only: Conditions = Conditions(),
        keep_history: bool = False,
        edit: dict[str, Any] | None = None,
        portion: dict[str, Any] | None = None,
    ) -> Accepted:
        """Any command without an object, to the experiment that has the name now. Raises NotThere
        if there is none, and it did not take this command before it was deleted."""
        check_name("namespace", namespace)
        check_name("name", name)
        reach.demand(Action.COMMAND, namespace)
        state = await self._living(namespace, name)
        if state is not None and only.uid not in (None, state.id):
            raise AnotherByNow(f"{namespace}/{name} is another experiment by now")
        command = Command(
            id=command_id or self._parts.ids.new_id(),
            # Bound to this one, so that a repeat never reaches a namesake.
            uid=only.uid if state is None else state.id,
            revision=only.revision,
            dry_run=only.dry_run,
            keep_history=keep_history,
            edit=edit,
            portion=portion,
        )
        if state is None and command_id is None:
            raise NotThere(f"there is no experiment {namespace}/{name}")
        try:
            return await self._send(namespace, name, verb, command)
        except Refused as refused:
            if state is not None:
                raise
            raise NotThere(f"there is no experiment {namespace}/{name}") from refused

    async def _living(self, namespace: str, name: str) -> Experiment | None:
        try:
            return await self._documents.living(namespace, name)
        except NotThere:
            return None

    async def _send(self, namespace: str, name: str, verb: Verb, command: Command) -> Accepted:
        request = Request(
            subject=subjects.command(namespace, name, verb.value), data=_encoded(command)
        )
        reply = await self._answered(request)
        if reply.stale:
            raise AnotherByNow(f"{namespace}/{name}: {reply.message}")
        if not reply.accepted:
            problems = [Problem(field=it.field, message=it.message) for it in reply.problems]
            raise Refused(problems or [Problem(field="", message=reply.message)])
        return Accepted(id=reply.id or command.id, uid=reply.uid or "", changed=reply.changed)

    async def _answered(self, request: Request) -> CommandReply:
        """Raises Transient."""
        answer = await answered(
            self._parts, request, attempt_s=self._attempt_s, deadline_s=self._deadline_s
        )
        try:
            return CommandReply.from_bytes(answer)
        except Poison as error:
            raise Transient(f"unreadable answer to a command: {error}") from error


def _encoded(command: Command) -> bytes:
    try:
        return command.to_bytes()
    except Poison as error:
        raise TooLarge(f"the Experiment does not fit into one message: {error}") from error
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise Unreadable(f"the Experiment cannot be written as JSON: {error}") from error
