"""What the system needs from a Kubernetes API server. Real: kubernetes-asyncio; in tests the same
client against a double of the server. Objects are plain JSON, as the server gives them.

Every call may raise Transient (no answer, 429, 5xx, or an effect that is not known: look again
before repeating) and Forbidden. Nothing here remembers objects: whoever needs a view of many
follows them with `watch`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

__all__ = [
    "AlreadyExists",
    "ClusterApi",
    "ClusterError",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "NoSuchKind",
    "NotFound",
    "Object",
    "Page",
    "Patch",
    "Resource",
    "WatchEvent",
    "WatchKind",
]

Object = dict[str, Any]


class ClusterError(Exception):
    """The API server said no. `reason`: of its Status (`NotFound`); the text is its message."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        self.reason = reason
        super().__init__(message)


class NotFound(ClusterError):
    """404: there is no such object."""


class AlreadyExists(ClusterError):
    """409 of a creation: an object of this name exists."""


class Conflict(ClusterError):
    """409 of a change: the object, or its uid or resourceVersion, is not the one that was meant."""


class Forbidden(ClusterError):
    """401 or 403: our account may not do this, or an admission or a quota forbids it."""


class Invalid(ClusterError):
    """400, 413, 415 or 422: the object itself is wrong; repeating it does not help. `causes`:
    (field, message) of its Status."""

    def __init__(
        self, message: str, *, reason: str = "", causes: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.causes = tuple(causes)
        super().__init__(message, reason=reason)


class Gone(ClusterError):
    """410: the resourceVersion or the continuation is too old; list anew."""


class NoSuchKind(ClusterError):
    """The server knows no resource of this apiVersion and kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind as the server serves it. group: "" of the core; plural: as in its address."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()
    subresources: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """next: what continues the list, "" at its end. remaining: None where it is not told."""

    items: tuple[Object, ...]
    resource_version: str
    next: str = ""
    remaining: int | None = None


class WatchKind(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """object: of a bookmark only its resourceVersion counts."""

    kind: WatchKind
    object: Object

    @property
    def resource_version(self) -> str:
        return str(self.object["metadata"]["resourceVersion"])


class Patch(StrEnum):
    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class ClusterApi(Protocol):
    async def resource(self, api_version: str, kind: str) -> Resource:
        """By discovery, remembered for a while. Raises NoSuchKind."""

    async def may(
        self, verb: str, resource: Resource, namespace: str | None, *, subresource: str = ""
    ) -> bool:
        """Whether our own account may (SelfSubjectAccessReview)."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """As it is now, from a quorum, not from a cache. Raises NotFound."""

    async def create(
        self, resource: Resource, namespace: str | None, body: Object, *, dry_run: bool = False
    ) -> Object:
        """dry_run: all checks of the server, nothing stored. Raises AlreadyExists, Invalid,
        NotFound (the namespace). Transient: it may be there all the same."""

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object | Sequence[Mapping[str, Any]],
        *,
        kind: Patch = Patch.MERGE,
        subresource: str = "",
    ) -> Object:
        """A resourceVersion in a merge patch's metadata makes it a compare-and-set. APPLY: by the
        field manager `trialbus`, forced. Raises NotFound, Conflict, Invalid."""

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
        grace_s: int | None = None,
    ) -> None:
        """uid: only the object that has it. Raises NotFound, Conflict."""

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        next: str = "",
    ) -> Page:
        """namespace None: of all. One page. Raises Gone for a continuation that is too old."""

    def watch(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        resource_version: str,
        label_selector: str = "",
        timeout_s: float,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """What comes after that version, bookmarks included, until the server closes it or
        `timeout_s` is over; then the iterator ends. Raises Gone, also in the middle."""

    async def log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
        since: str = "",
        timestamps: bool = False,
    ) -> bytes:
        """Of a pod as far as it is there. since: RFC 3339. Raises NotFound, Invalid (the
        container has not started)."""

    def follow_log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        since: str = "",
        timestamps: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The same as it grows, in pieces, until the container ends. Raises Transient, also in the
        middle, when the connection ends before, or is silent for minutes: follow it again. It
        begins with the first piece."""

    async def close(self) -> None:
        """Watches and logs that are open end."""
