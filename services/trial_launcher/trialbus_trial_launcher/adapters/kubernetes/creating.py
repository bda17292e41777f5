"""Creating the object of a run: once, whatever the server answers."""

from contextlib import suppress
from dataclasses import dataclass

from trialbus.contracts.cluster_names import RUN_LABEL
from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_MESSAGE_CHARS
from trialbus.ports.clock import Clock
from trialbus.ports.cluster import (
    AlreadyExists,
    ClusterApi,
    ClusterError,
    Forbidden,
    Invalid,
    NoSuchKind,
    NotFound,
    Object,
)
from trialbus_trial_launcher.adapters.kubernetes.records import Record
from trialbus_trial_launcher.app.cluster.object_ends import RunEnd

_CANNOT_EXECUTE = 126
_QUOTA = "exceeded quota"


@dataclass(frozen=True, slots=True)
class Creating:
    api: ClusterApi
    clock: Clock

    async def create(self, record: Record) -> Object | RunEnd | None:
        """The object as it is now, made by us or by another launcher for this very run; or how the
        run ended without one. None: it is no longer wanted. Goes on until it knows."""
        pause_s, since = limits.CLUSTER_BACKOFF_S, self.clock.monotonic()
        # Whether a creation was sent whose effect nobody knows.
        doubtful = False
        while not record.stop and record.end is None and record.body is not None:
            if (end := self._too_late(record)) is not None:
                return end
            try:
                return await self._once(record, doubtful=doubtful)
            except (Invalid, NotFound) as error:
                return _refused(error)
            except (Transient, Forbidden, NoSuchKind) as error:
                record.trouble = _trouble(error)
                doubtful |= isinstance(error, Transient) and record.resource is not None
                if _is_final(error) and self._waited(since) > limits.CLUSTER_CREATE_DEADLINE_S:
                    return _refused(error)
            except ClusterError as error:
                record.trouble = _trouble(error)
            await self.clock.sleep(pause_s)
            pause_s = min(2 * pause_s, limits.MAX_CLUSTER_BACKOFF_S)
        return await self._made_after_all(record) if doubtful and record.end is None else None

    async def _made_after_all(self, record: Record) -> Object | None:
        """What is not wanted any more, and may be there: then it is taken away."""
        assert record.resource is not None
        namespace = record.kind.namespace if record.resource.namespaced else None
        while record.end is None:
            try:
                found = await self.api.get(record.resource, namespace, record.name)
            except ClusterError:
                return None
            except Transient as error:
                record.trouble = str(error)
                await self.clock.sleep(limits.CLUSTER_RETRY_AFTER_S)
            else:
                return found if owner_of(found) == record.run_id else None
        return None

    def _waited(self, since: float) -> float:
        return self.clock.monotonic() - since

    def _too_late(self, record: Record) -> RunEnd | None:
        """An object that was there must never be made again, and one that others may call lost
        neither, where nobody claims the attempt."""
        if record.gone:
            return RunEnd(lost=True, message=f"{record} was deleted by others")
        if record.kind.shipped:
            return None
        if self.clock.now() - record.created_at <= limits.CLUSTER_FIRST_CREATE_S:
            return None
        why = record.trouble or "its launcher was away"
        return RunEnd(
            lost=True,
            message=f"{record} could not be created within "
            f"{limits.CLUSTER_FIRST_CREATE_S:g} s: {why}"[:MAX_MESSAGE_CHARS],
        )

    async def _once(self, record: Record, *, doubtful: bool) -> Object | RunEnd:
        """doubtful: it may have been made, have run, and have gone. Where no claim would keep its
        command from running again it is then only looked for."""
        assert record.body is not None
        kind = record.kind
        resource = await self.api.resource(kind.api_version, kind.kind)
        record.resource = resource
        namespace = kind.namespace if resource.namespaced else None
        # One that a view has shown is ours from an answer that was lost.
        unsafe = doubtful and not kind.shipped
        if not record.seen and not unsafe:
            with suppress(AlreadyExists):
                return await self.api.create(resource, namespace, record.body)
        # Ours, another launcher's for this run, or somebody else's.
        try:
            found = await self.api.get(resource, namespace, record.name)
        except NotFound:
            if unsafe:
                message = f"it is not known whether {record} was made: {record.trouble}"
                return RunEnd(lost=True, message=message[:MAX_MESSAGE_CHARS])
            raise Transient("it was there, and is there no more") from None
        if owner_of(found) == record.run_id:
            return found
        return RunEnd(
            exit_code=_CANNOT_EXECUTE,
            message=f"there is another {record}, {_whose(found)}",
        )


def owner_of(found: Object) -> str:
    """The run that an object stands for, "" if it is none of ours."""
    return str((found["metadata"].get("labels") or {}).get(RUN_LABEL, ""))


def _whose(found: Object) -> str:
    owner = owner_of(found)
    if owner:
        return f"of the run {owner}"
    managers = found["metadata"].get("managedFields") or [{}]
    by = managers[0].get("manager") if isinstance(managers[0], dict) else None
    return f"made by {by}" if by else "made by others"


def _trouble(error: Exception) -> str:
    return f"cannot be created: {error}"[:MAX_MESSAGE_CHARS]


def _is_final(error: Exception) -> bool:
    """Whether it stays so unless somebody changes the cluster. A quota gets free by itself."""
    return isinstance(error, Forbidden | NoSuchKind) and _QUOTA not in str(error)


def _refused(error: Exception) -> RunEnd:
    return RunEnd(exit_code=_CANNOT_EXECUTE, message=str(error)[:MAX_MESSAGE_CHARS])
