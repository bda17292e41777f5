"""Event objects: what controllers tell people about an object."""

from dataclasses import dataclass
from typing import Any

from tests.cluster.double.objects import Objects

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Happenings:
    """component: who tells."""

    objects: Objects
    component: str

    def tell(self, about: Object, kind: str, reason: str, message: str) -> None:
        """kind: Normal or Warning. The same again raises the count of the first."""
        events = self.objects.registry.kinds["", "events"]
        shelf = self.objects.shelf(events)
        meta, now = about["metadata"], self.objects.timestamp()
        mark = f"{hash((meta['uid'], reason, message)) & (2**64 - 1):016x}"
        name = f"{meta['name']}.{mark}"
        before = shelf.objects.get((meta["namespace"], name))
        if before is not None:
            again = {"count": before.obj["count"] + 1, "lastTimestamp": now}
            self.objects.state.put(shelf, {**before.obj, **again})
            return
        named = {key: meta[key] for key in ("namespace", "name", "uid")}
        body = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "uid": self.objects.new_uid(),
                "creationTimestamp": now,
            },
            "involvedObject": {"kind": about["kind"], "apiVersion": about["apiVersion"], **named},
            "reason": reason,
            "message": message,
            "type": kind,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": self.component},
        }
        self.objects.state.put(shelf, body)
