"""What stopping rules have said of runs: the evidence documents carry their verdicts."""

from collections.abc import Collection

from trialbus.contracts.collections import EVIDENCE
from trialbus.ports.store import Store


async def to_be_stopped(store: Store, run_ids: Collection[str]) -> frozenset[str]:
    """Of these runs those that a stopping rule wants stopped. Raises Transient."""
    if not run_ids:
        return frozenset()
    found = await store.get_many(EVIDENCE.name, run_ids, fields=("verdict",))
    return frozenset(
        key
        for key, document in found.items()
        if document.get("verdict") is not None and document["verdict"]["stop"]
    )
