"""Objects that have the names of ours, and are none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cluster.double.server import Double
from tests.cluster.resource_worlds import Kept, at_rest, kept_world

from trialbus.testkit.gateway_world import katib
from trialbus.testkit.waits import until


@pytest.fixture
async def kept(tmp_path: Path, double: Double) -> AsyncIterator[Kept]:
    async with kept_world(tmp_path, double) as made:
        yield made


async def test_a_suggestion_of_a_deleted_namesake_gives_way_to_ours(kept: Kept) -> None:
    """The cluster removes what belonged to a deleted object a while later."""
    theirs = katib()
    theirs["kind"] = "Suggestion"
    theirs["spec"] = {"algorithm": {"algorithmName": "random"}, "requests": 1}
    left = kept.double.create(theirs)
    made = kept.double.create(katib())
    await kept.start()
    await kept.until_made()
    await at_rest(kept)
    there = kept.resource(kind="suggestions")
    assert there is not None
    assert there["metadata"]["uid"] == left["metadata"]["uid"]
    kept.double.delete("suggestions.kubeflow.org", "lab", "tune")
    await kept.over_http(maxTrialCount=7)

    def ours() -> bool:
        there = kept.resource(kind="suggestions")
        owners = [] if there is None else there["metadata"].get("ownerReferences") or []
        return [it["uid"] for it in owners] == [made["metadata"]["uid"]]

    await until(ours, "our Suggestion")
