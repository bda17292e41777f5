"""From the cluster to the store: what people apply, edit and delete becomes commands.

Everything here looks at what is now, on both sides, and does the next step; so it may be done
again at any time, by anybody, and a deletion that nobody saw is found later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trialbus.contracts.commands import Verb, uid_made_by
from trialbus.contracts.katib.times import rfc3339
from trialbus.contracts.katib.view_parts import spec_of
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.ports.cluster import AlreadyExists, Conflict, Invalid, NotFound
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.commanding import Commanding, Conditions
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import AnotherByNow, NotThere, TooLarge, Unreadable
from trialbus_gateway.app.objects import Objects
from trialbus_gateway.app.resource_cluster import EXPERIMENT, ResourceCluster
from trialbus_gateway.app.resource_documents import ResourceDocuments, ResourceLink, intent_of
from trialbus_gateway.app.resource_home import HomeOfResources
from trialbus_gateway.core.custom_resources import (
    UID_ANNOTATION,
    edits,
    is_leaving,
    is_over,
    without_katibs_finalizer,
    written,
    written_digest,
)
from trialbus_gateway.core.resource_objects import (
    EDIT_REFUSED,
    REFUSED_REASON,
    experiment_object,
    refusal_event,
    refused_status,
)

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An object of the cluster and the experiment that it stands for, as they are now."""

    resource: Object
    state: Experiment
    link: ResourceLink


class Again(Exception):
    """Something has been done, or somebody was faster: look at it once more."""


class ResourceTaking:
    """hold_s: so long an experiment that cannot be an object is not tried again, unless it is
    edited; its trials change often."""

    def __init__(
        self,
        parts: Parts,
        commanding: Commanding,
        cluster: ResourceCluster,
        home: HomeOfResources,
        *,
        hold_s: float,
    ) -> None:
        self._parts = parts
        self._home = home
        self._hold_s = hold_s
        # Until when, by experiment and revision.
        self._held: dict[tuple[str, int], float] = {}
        # When refused objects were judged last, by their uids.
        self._judged: dict[str, float] = {}
        self._commanding = commanding
        self._cluster = cluster
        self._documents = Documents(parts.store)
        self._objects = Objects(parts.store)
        self._links = ResourceDocuments(parts.store)

    async def pair(self, namespace: str, name: str) -> Pair | None:
        """Bring both sides together. None: there is nothing to show. Raises Again, Transient,
        ClusterError."""
        resource = await self._cluster.experiment(namespace, name)
        state = await self._living(namespace, name)
        link = await self._linked(namespace, name, resource, state)
        if resource is None:
            return None if state is None else await self._make(state)
        if is_leaving(resource):
            await self._let_go(resource, state, link)
            return None
        if link is None:
            return await self._take_new(resource, state)
        if link.uid is None:
            return await self._take_refused(resource, link)
        assert state is not None
        return await self._take_edit(resource, state, link)

    async def _linked(
        self, namespace: str, name: str, resource: Object | None, state: Experiment | None
    ) -> ResourceLink | None:
        """Of this object, after all that others of this name left behind has been cleaned up."""
        uid = None if resource is None else resource["metadata"]["uid"]
        found = None
        for link in await self._links.named(namespace, name):
            lives = state is not None and link.uid == state.id
            if link.id == intent_of(link.uid):
                await self._end_intent(link, resource, state if lives else None)
                continue
            if link.id == uid and (lives or link.uid is None):
                found = link
                continue
            if link.id == uid and not link.seen:
                # We were about to make the experiment, and may not have come to that.
                continue
            if link.id == uid:
                # Deleted otherwise: its object goes, too.
                await self._cluster.delete_experiment(namespace, name, link.id)
            elif lives and link.uid is not None:
                if not await self._home.has_lost(link):
                    raise Again
                await self._delete(namespace, name, link.uid)
            await self._links.forget(link)
            raise Again
        return found

    async def _end_intent(
        self, intent: ResourceLink, resource: Object | None, state: Experiment | None
    ) -> None:
        """We were about to make an object for an experiment. state: if it still lives."""
        if resource is None and state is not None:
            return
        if resource is not None and _told_uid(resource) == intent.uid:
            # We made it, and did not come to write that down.
            if state is not None:
                await self._link(resource, state, shown=-1)
            else:
                metadata = resource["metadata"]
                await self._cluster.delete_experiment(
                    intent.namespace, intent.name, metadata["uid"]
                )
        await self._links.forget(intent)
        raise Again

    async def _delete(self, namespace: str, name: str, uid: str) -> None:
        self._parts.telemetry.log.info("object deleted", namespace=namespace, experiment=name)
        try:
            await self._commanding.tell(
                namespace, name, Verb.DELETE, only=Conditions(uid=uid), command_id=f"gone-{uid}"
            )
        except (NotThere, AnotherByNow):
            return

    async def _let_go(
        self, resource: Object, state: Experiment | None, link: ResourceLink | None
    ) -> None:
        """An object that somebody holds after its deletion: nothing of it runs any more."""
        metadata = resource["metadata"]
        if link is not None and state is not None and link.uid == state.id:
            await self._delete(metadata["namespace"], metadata["name"], state.id)
        kept = without_katibs_finalizer(resource)
        if kept is not None:
            try:
                patch = {"metadata": {"finalizers": kept}}
                await self._cluster.edit_experiment(resource, patch)
            except NotFound:
                return
            except Conflict as error:
                raise Again from error

    # Objects that stand for nothing yet -------------------------------------------------------

    async def _take_new(self, resource: Object, state: Experiment | None) -> Pair | None:
        if state is None and is_over(resource):
            # It was run by somebody else, before we came.
            return None
        return await self._apply(resource, state)

    async def _take_refused(self, resource: Object, link: ResourceLink) -> Pair | None:
        if written_digest(resource) != link.seen or self._may_be_taken_now(link):
            metadata = resource["metadata"]
            state = await self._living(metadata["namespace"], metadata["name"])
            return await self._apply(resource, state, refused=link)
        await self._show_refusal(resource, link)
        return None

    def _may_be_taken_now(self, link: ResourceLink) -> bool:
        """A template, a right or a kind that it lacked may be there by now."""
        judged_at = self._judged.get(link.id)
        return judged_at is None or self._parts.clock.now() - judged_at >= self._hold_s

    async def _apply(
        self, resource: Object, state: Experiment | None, refused: ResourceLink | None = None
    ) -> Pair | None:
        """state: an experiment that came otherwise and has the name; the object is an edit of it
        then. refused: how it was judged before."""
        metadata = resource["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        if state is None:
            # Before anything is made, so that a deletion that nobody sees finds it.
            await self._links.put(_first_link(resource))
        only = Conditions() if state is None else Conditions(uid=state.id)
        # The uid of the object makes the creation one; an edit is one with what it is made from.
        key = metadata["uid"] if state is None else _edit_id(resource)
        try:
            accepted = await self._commanding.apply(
                namespace, name, written(resource), command_id=key, only=only
            )
        except (Refused, TooLarge, Unreadable) as error:
            await self._refuse(resource, _problems(error), refused)
            return None
        except AnotherByNow as error:
            if state is None:
                # Made before, and deleted otherwise since.
                await self._cluster.delete_experiment(namespace, name, metadata["uid"])
            raise Again from error
        self._judged.pop(metadata["uid"], None)
        living = await self._living(namespace, name)
        if living is None or living.id != accepted.uid:
            raise Again
        return await self._link(resource, living, shown=living.revision)

    async def _refuse(
        self, resource: Object, problems: tuple[Problem, ...], before: ResourceLink | None
    ) -> None:
        metadata = resource["metadata"]
        now = self._parts.clock.now()
        self._judged[metadata["uid"]] = now
        # For the same reasons as before it is no news.
        known = before is not None and before.problems == problems
        link = ResourceLink(
            id=metadata["uid"],
            version=1,
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=None,
            seen=written_digest(resource),
            problems=problems,
            refused_at=before.refused_at if known and before else now,
        )
        await self._show_refusal(resource, await self._links.put(link))

    async def _show_refusal(self, resource: Object, link: ResourceLink) -> None:
        at = rfc3339(link.refused_at or 0.0)
        event = refusal_event(resource, REFUSED_REASON, link.problems, at)
        shown = refused_status(link.problems, at)
        if (resource.get("status") or {}) != shown:
            await self._tell(event)
            await self._cluster.show(EXPERIMENT, resource, shown)

    async def _tell(self, event: Object) -> None:
        if why := await self._cluster.tell(event):
            self._parts.telemetry.log.warning("event not told", error=why)

    async def _link(self, resource: Object, state: Experiment, *, shown: int) -> Pair:
        """shown: the revision of the experiment that the object shows, -1: none."""
        link = ResourceLink(
            id=resource["metadata"]["uid"],
            version=1,
            namespace=state.namespace,
            name=state.name,
            uid=state.id,
            seen=written_digest(resource),
            revision=shown,
        )
        return Pair(resource=resource, state=state, link=await self._links.put(link))

    # Experiments that have no object ----------------------------------------------------------

    async def _make(self, state: Experiment) -> Pair | None:
        now, tried = self._parts.clock.monotonic(), (state.id, state.revision)
        if now < self._held.get(tried, now):
            return None
        view = (await self._objects.experiments([state]))[0]
        intent = ResourceLink(
            id=intent_of(state.id),
            version=1,
            namespace=state.namespace,
            name=state.name,
            uid=state.id,
        )
        await self._links.put(intent)
        try:
            made = await self._cluster.create_experiment(experiment_object(view))
        except AlreadyExists as error:
            raise Again from error
        except (Invalid, NotFound) as error:
            self._parts.telemetry.log.warning(
                "experiment cannot be an object",
                namespace=state.namespace,
                experiment=state.name,
                error=str(error),
            )
            self._held = {key: until for key, until in self._held.items() if until > now}
            self._held[tried] = now + self._hold_s
            return None
        pair = await self._link(made, state, shown=state.revision)
        await self._links.forget(intent)
        return pair

    # Objects and experiments that belong together ---------------------------------------------

    async def _take_edit(self, resource: Object, state: Experiment, link: ResourceLink) -> Pair:
        """Who edits both within a second has the object's edit."""
        if written_digest(resource) != link.seen:
            link = await self._edit(resource, state, link)
            state = await self._living(state.namespace, state.name) or state
        if link.revision == state.revision:
            return Pair(resource=resource, state=state, link=link)
        if not link.problems and (patch := edits(resource, _source_now(state))):
            resource = await self._give(resource, patch)
        link = replace(link, seen=written_digest(resource), revision=state.revision)
        return Pair(resource=resource, state=state, link=await self._links.put(link))

    async def _edit(self, resource: Object, state: Experiment, link: ResourceLink) -> ResourceLink:
        # What was edited otherwise since is not in the object yet, and must not go for that.
        exact = link.revision == state.revision
        only = Conditions(uid=state.id, revision=state.revision, exact=exact)
        problems: tuple[Problem, ...] = ()
        try:
            await self._commanding.apply(
                state.namespace,
                state.name,
                written(resource),
                command_id=_edit_id(resource),
                only=only,
            )
        except AnotherByNow as error:
            raise Again from error
        except (Refused, TooLarge, Unreadable) as error:
            problems = _problems(error)
            at = rfc3339(self._parts.clock.now())
            await self._tell(refusal_event(resource, EDIT_REFUSED, problems, at))
        edited = replace(
            link,
            seen=written_digest(resource),
            problems=problems,
            refused_at=self._parts.clock.now() if problems else None,
        )
        return await self._links.put(edited)

    async def _give(self, resource: Object, patch: Object) -> Object:
        try:
            return await self._cluster.edit_experiment(resource, patch)
        except (Conflict, NotFound) as error:
            raise Again from error

    async def _living(self, namespace: str, name: str) -> Experiment | None:
        try:
            return await self._documents.living(namespace, name)
        except NotThere:
            return None


def _first_link(resource: Mapping[str, Any]) -> ResourceLink:
    """To the experiment that will be made of an object."""
    metadata = resource["metadata"]
    return ResourceLink(
        id=metadata["uid"],
        version=1,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=uid_made_by(metadata["uid"]),
    )


def _told_uid(resource: Mapping[str, Any]) -> str:
    return str((resource["metadata"].get("annotations") or {}).get(UID_ANNOTATION) or "")


def _source_now(state: Experiment) -> Object:
    """As it was applied, and suspended or resumed since."""
    return {**state.source, "spec": spec_of(state)}


def _edit_id(resource: Mapping[str, Any]) -> str:
    metadata = resource["metadata"]
    return f"{metadata['uid']}.{metadata['resourceVersion']}"


def _problems(error: Exception) -> tuple[Problem, ...]:
    if isinstance(error, Refused):
        return error.problems
    return (Problem(field="", message=str(error)),)
