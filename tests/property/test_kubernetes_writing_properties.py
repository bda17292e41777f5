"""Whatever is sent to be written, the answer is an object or a Status, never a failure of ours."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trialbus.testkit.gateway_world import World, gateway_world, katib
from trialbus_gateway.adapters.kubernetes.managed_fields import applied, leaves, updated
from trialbus_gateway.adapters.kubernetes.patches import PatchFailed, json_patch, merge_patch

ALL = "/apis/kubeflow.org/v1beta1/namespaces/lab/experiments"
TUNE = f"{ALL}/tune"
TYPES = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)

names = st.sampled_from(
    ["metadata", "spec", "status", "labels", "annotations", "managedFields", "resourceVersion",
     "uid", "name", "maxTrialCount", "objective", "suspend", "kind", "x", "", "~", "f:x"]
)  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=5)
pointers = st.lists(names, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
operations = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
        optional={"path": pointers, "from": pointers, "value": values},
    ),
    max_size=4,
)


def all_told(folder: Path, method: str, bodies: list[tuple[str, Any]]) -> list[int]:
    """The codes of the answers, each of which is an object or a Status."""

    async def ask(world: World, content_type: str, body: Any) -> int:
        answer = await world.client.request(
            method,
            ALL if method == "POST" else TUNE,
            params={"fieldManager": "m", "dryRun": "All"},
            content=json.dumps(body).encode(),
            headers={"content-type": content_type},
        )
        assert answer.json()["kind"] in ("Experiment", "Status"), answer.text
        return answer.status_code

    async def act() -> list[int]:
        async with gateway_world(folder) as world:
            await world.apply()
            return [await ask(world, *body) for body in bodies]

    return asyncio.run(act())


RELAXED = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
edits = st.tuples(
    st.sampled_from(TYPES),
    st.one_of(objects, operations, values, objects.map(lambda more: {**katib(), **more})),
)


@RELAXED
@given(bodies=st.lists(edits, min_size=10, max_size=30))
def test_no_patch_is_a_failure_of_ours(tmp_path: Path, bodies: list[tuple[str, Any]]) -> None:
    assert max(all_told(tmp_path, "PATCH", bodies)) < 500


@RELAXED
@given(bodies=st.lists(st.one_of(objects, values), min_size=10, max_size=30))
def test_no_creation_is_a_failure_of_ours(tmp_path: Path, bodies: list[Any]) -> None:
    sent = [("application/json", body) for body in bodies]
    assert max(all_told(tmp_path, "POST", sent)) < 500


@given(document=values, patch=objects)
def test_a_merge_patch_is_what_it_leaves_when_it_is_applied_again(
    document: Any, patch: dict[str, Any]
) -> None:
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@given(document=values, patch=operations)
def test_a_json_patch_leaves_what_it_was_given(document: Any, patch: list[Any]) -> None:
    before = json.dumps(document)
    with suppress(PatchFailed):
        json_patch(document, patch)
    assert json.dumps(document) == before


def thing(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": spec}


def apply(live: dict[str, Any], spec: dict[str, Any], name: str) -> dict[str, Any]:
    return applied(live, thing(spec), name, "t", defaulted=lambda obj: obj, force=True)


@given(first=objects, second=objects)
def test_what_one_manager_applied_is_what_is_there(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Law of server-side apply: a sole manager's object is its last configuration."""
    live = apply(apply({}, first, "me"), second, "me")
    assert leaves(live) == leaves(thing(second))
    assert apply(live, second, "me") == live


@given(before=objects, after=objects)
def test_an_update_leaves_no_owner_of_what_is_gone(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    made = updated(updated({}, thing(before), "a", "t"), thing(after), "b", "t")
    fields = [entry["fieldsV1"] for entry in made["metadata"].get("managedFields", ())]
    assert bool(fields) == bool(leaves(thing(after)))
