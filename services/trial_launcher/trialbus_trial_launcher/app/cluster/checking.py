"""Whether trials of a template can run on the cluster, asked before an experiment is taken."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from trialbus.contracts.template_checks import FoundProblem, TemplateCheck, TemplateCheckReply
from trialbus.kernel.errors import Poison, Problem, Refused, Transient
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import trial_name
from trialbus.kernel.job_templates import TRIAL_SPEC_FIELD
from trialbus.kernel.limits import CLUSTER_CHECK_S, MAX_PROBLEMS
from trialbus.kernel.space import SearchSpace
from trialbus.kernel.spec import ExperimentSpec
from trialbus.kernel.trial import Assignment, Trial, TrialPhase
from trialbus.ports.bus import Request
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import (
    AlreadyExists,
    ClusterApi,
    ClusterError,
    Forbidden,
    Invalid,
    NoSuchKind,
    NotFound,
    Resource,
)
from trialbus_trial_launcher.app.cluster.place import ClusterPlace

_VERBS = ("create", "get", "list", "watch", "patch", "delete")
# Of pods: verb and subresource.
_POD_RIGHTS = (("list", ""), ("watch", ""), ("get", "log"))
# Answers that are remembered.
_MAX_KNOWN = 100
_UID = "00000000-0000-4000-8000-000000000000"


class Checking:
    """namespaces: that have our Roles; (None,): all."""

    def __init__(
        self,
        api: ClusterApi,
        place: ClusterPlace,
        clock: Clock,
        namespaces: tuple[str | None, ...],
    ) -> None:
        self.api = api
        self.place = place
        self.clock = clock
        self.namespaces = namespaces
        self._known: OrderedDict[str, tuple[float, TemplateCheckReply]] = OrderedDict()

    async def respond(self, requests: Sequence[Request]) -> Sequence[bytes]:
        return [(await self._answer(request)).to_bytes() for request in requests]

    async def _answer(self, request: Request) -> TemplateCheckReply:
        try:
            asked = TemplateCheck.from_bytes(request.data)
            spec = asked.parsed()
        except (Poison, ValidationError):
            return TemplateCheckReply()
        now, key = self.clock.monotonic(), request.data.decode(errors="replace")
        at, reply = self._known.get(key, (float("-inf"), TemplateCheckReply()))
        if now - at < CLUSTER_CHECK_S:
            return reply
        try:
            problems = await self._problems(_sample(asked, spec))
        except Transient:
            return TemplateCheckReply()
        found = [FoundProblem(field=it.field, message=it.message) for it in problems]
        reply = TemplateCheckReply(problems=tuple(found[:MAX_PROBLEMS]))
        self._known[key] = (now, reply)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return reply

    async def _problems(self, state: Experiment) -> Sequence[Problem]:
        """The first kind of trouble only: the later ones follow from it. Raises Transient."""
        if None not in self.namespaces and state.namespace not in self.namespaces:
            named = ", ".join(str(it) for it in self.namespaces)
            message = f"trials run only in the namespaces {named} (TRIALBUS_KUBERNETES_NAMESPACES)"
            return [Problem(field="metadata.namespace", message=message)]
        try:
            body = self.place.object_of(state, _trial(state), 1).body
        except Refused as refused:
            return refused.problems
        try:
            resource = await self.api.resource(str(body["apiVersion"]), str(body["kind"]))
            pods = await self.api.resource("v1", "Pod")
        except NoSuchKind:
            message = (
                f"the cluster serves no {body['kind']} of {body['apiVersion']}: is its definition "
                "(CRD) installed?"
            )
            return [Problem(field=TRIAL_SPEC_FIELD, message=message)]
        if missing := await self._missing(resource, pods, state.namespace):
            return missing
        return await self._tried(resource, state.namespace, body)

    async def _missing(self, resource: Resource, pods: Resource, namespace: str) -> list[Problem]:
        missing = [
            f"{verb} {_named(resource)}"
            for verb in _VERBS
            if not await self.api.may(verb, resource, namespace)
        ]
        missing += [
            f"{verb} pods{f'/{part}' if part else ''}"
            for verb, part in _POD_RIGHTS
            if not await self.api.may(verb, pods, namespace, subresource=part)
        ]
        message = (
            f"the trial launcher's account may not {', '.join(missing)} in namespace {namespace}: "
            "give it a Role (docs/reference/cluster-permissions.md)"
        )
        return [Problem(field=TRIAL_SPEC_FIELD, message=message)] if missing else []

    async def _tried(
        self, resource: Resource, namespace: str, body: dict[str, object]
    ) -> list[Problem]:
        """All checks of the server, with nothing created."""
        where = namespace if resource.namespaced else None
        try:
            await self.api.create(resource, where, body, dry_run=True)
        except AlreadyExists:
            return []
        except Invalid as error:
            return list(_invalid(error))
        except NotFound as error:
            return [Problem(field="metadata.namespace", message=str(error))]
        except Forbidden as error:
            return [Problem(field=TRIAL_SPEC_FIELD, message=str(error))]
        except ClusterError as error:
            return [Problem(field=TRIAL_SPEC_FIELD, message=str(error))]
        return []


def _invalid(error: Invalid) -> Iterator[Problem]:
    if not error.causes:
        yield Problem(field=TRIAL_SPEC_FIELD, message=str(error))
    for field, message in error.causes:
        path = f"{TRIAL_SPEC_FIELD}.{field}" if field else TRIAL_SPEC_FIELD
        yield Problem(field=path, message=message)


def _named(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _sample(asked: TemplateCheck, spec: ExperimentSpec) -> Experiment:
    return Experiment(
        id=_UID,
        version=1,
        namespace=asked.namespace,
        name=asked.name,
        spec=spec,
        source={},
        seed=0,
        phase=ExperimentPhase.CREATED,
        created_at=0.0,
        alive_name=None,
    )


def _trial(state: Experiment) -> Trial:
    """With a point from the middle of the space; an architecture search names its own values."""
    space = SearchSpace(state.spec.parameters)
    values = space.assignments(space.from_unit([0.5] * len(state.spec.parameters)))
    names = state.spec.assignment_names
    return Trial(
        id=f"{state.id}.0",
        uid=state.id,
        version=1,
        namespace=state.namespace,
        experiment=state.name,
        index=0,
        name=trial_name(state.name, state.id, 0),
        phase=TrialPhase.CREATED,
        assignments=tuple(Assignment(name=name, value=values.get(name, "1")) for name in names),
        conditions=(),
        created_at=0.0,
    )
