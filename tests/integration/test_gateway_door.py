"""What the gateway's door does beside judging tokens: watches of one tenant, headers,
`auth can-i`, and silence about secrets."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from trialbus.contracts.token_file import write_tokens
from trialbus.testkit.access_world import OURS, THEIRS, AccessWorld, access_world
from trialbus.testkit.gateway_world import katib
from trialbus.testkit.waits import until
from trialbus_gateway.adapters import streams

WATCHES = (
    "/apis/kubeflow.org/v1beta1/experiments",
    "/apis/kubeflow.org/v1beta1/trials",
    "/apis/kubeflow.org/v1beta1/suggestions",
    "/api/v1/pods",
    "/apis/batch/v1/jobs",
    "/api/v1/events",
)


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[AccessWorld]:
    async with access_world(tmp_path) as made:
        yield made


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# Watches ------------------------------------------------------------------------------------------


async def test_a_watch_over_all_namespaces_tells_of_ones_own(access: AccessWorld) -> None:
    """The index behind them is one for all: the first to ask is a tenant, the next an admin."""
    reader, admin = access.tokens["reader"], access.tokens["admin"]
    watches = [f"{path}?watch=true&timeoutSeconds=1" for path in WATCHES]
    told = await asyncio.gather(
        *(access.call(reader, "GET", watch) for watch in watches),
        *(access.call(admin, "GET", watch) for watch in watches),
    )
    for path, ours, every in zip(WATCHES, told, told[len(WATCHES) :], strict=False):
        assert ours[0] == every[0] == 200
        assert THEIRS not in ours[1], path
        assert access.theirs[1].name not in ours[1], path
        assert OURS in ours[1], path
        assert THEIRS in every[1], path


async def test_a_watch_tells_no_change_of_another_tenant(access: AccessWorld) -> None:
    client, path = access.world.client, WATCHES[0]
    _, text = await access.call(access.tokens["reader"], "GET", path)
    version = json.loads(text)["metadata"]["resourceVersion"]
    watch = asyncio.create_task(
        access.call(
            access.tokens["reader"],
            "GET",
            f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=6",
        )
    )
    for namespace in (THEIRS, OURS):
        answer = await client.put(
            f"/v1/namespaces/{namespace}/experiments/later",
            json={"object": katib("later", namespace)},
            headers=bearer(access.tokens["admin"]),
        )
        assert answer.status_code == 201
    found = await access.world.experiments()
    for state in found:
        await access.world.tell(state, "experiment.created")
    status, text = await watch
    told = [json.loads(line)["object"]["metadata"] for line in text.splitlines()]
    assert status == 200
    assert {(it["namespace"], it["name"]) for it in told} == {(OURS, "later")}


async def test_an_event_stream_of_another_tenant_is_not_there(access: AccessWorld) -> None:
    path = "/v1/namespaces/{}/experiments/tune/events?follow=true"
    status, _ = await access.call(access.tokens["reader"], "GET", path.format(THEIRS))
    assert status == 404


async def test_a_stream_ends_when_its_token_is_revoked(
    access: AccessWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_EVERY_S", 0.05)
    path = f"/v1/namespaces/{OURS}/experiments/tune/events?follow=true"
    following = asyncio.create_task(access.call(access.tokens["reader"], "GET", path))
    name = "token:reader"
    await until(lambda: access.door.open_streams(name) == 1, "the stream is open")
    access.tokens_file.write_bytes(write_tokens([]))
    status, _ = await asyncio.wait_for(following, 10)
    assert status == 200
    assert access.door.open_streams(name) == 0


# Headers ------------------------------------------------------------------------------------------


async def test_every_answer_tells_browsers_what_it_is_not(access: AccessWorld) -> None:
    client = access.world.client
    asked = [
        await client.get("/healthz"),
        await client.get("/v1/status"),
        await client.get("/v1/experiments", headers=bearer(access.tokens["reader"])),
        await client.get("/api/v1/pods", headers=bearer(access.tokens["reader"])),
        await client.get("/nothing", headers=bearer(access.tokens["reader"])),
    ]
    assert [answer.status_code for answer in asked] == [200, 401, 200, 200, 404]
    for answer in asked:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
    assert asked[1].headers["www-authenticate"].startswith("Bearer")
    assert asked[2].headers["cache-control"] == "no-store"


async def test_kubernetes_paths_are_refused_in_kubernetes_words(access: AccessWorld) -> None:
    one = f"/apis/kubeflow.org/v1beta1/namespaces/{OURS}/experiments/tune"
    for token, method, path, code, reason in (
        (None, "GET", one, 401, "Unauthorized"),
        (access.tokens["reader"], "DELETE", one, 403, "Forbidden"),
        (access.tokens["reader"], "GET", one.replace(OURS, THEIRS), 404, "NotFound"),
    ):
        status, text = await access.call(token, method, path)
        told = json.loads(text)
        assert (status, told["code"], told["reason"]) == (code, code, reason)
        assert (told["kind"], told["status"]) == ("Status", "Failure")


# auth can-i ---------------------------------------------------------------------------------------


def asked(verb: str, resource: str, namespace: str = OURS, **more: str) -> dict[str, Any]:
    group = {"pods": "", "namespaces": "", "jobs": "batch"}.get(resource, "kubeflow.org")
    return {
        "resourceAttributes": {
            "verb": verb,
            "resource": resource,
            "namespace": namespace,
            "group": group,
            **more,
        }
    }


@pytest.mark.parametrize(
    ("who", "spec", "allowed"),
    [
        ("reader", asked("get", "experiments"), True),
        ("reader", asked("list", "trials"), True),
        ("reader", asked("watch", "pods"), True),
        ("reader", asked("get", "pods", subresource="log"), True),
        ("reader", asked("list", "experiments", ""), True),
        ("reader", asked("get", "experiments", THEIRS), False),
        ("reader", asked("list", "experiments", THEIRS), False),
        ("reader", asked("create", "experiments"), False),
        ("reader", asked("delete", "experiments"), False),
        ("reader", asked("get", "secrets"), False),
        ("reader", {"nonResourceAttributes": {"path": "/version", "verb": "get"}}, True),
        ("reader", {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}, False),
        ("writer", asked("create", "experiments"), True),
        ("writer", asked("patch", "experiments"), True),
        ("writer", asked("create", "experiments", THEIRS), False),
        ("writer", asked("create", "experiments", ""), False),
        ("writer", asked("delete", "trials"), False),
        ("writer", asked("*", "*"), False),
        ("worker", asked("get", "experiments"), False),
        ("admin", asked("*", "*", ""), True),
        ("admin", asked("delete", "experiments", THEIRS), True),
    ],
)
async def test_what_one_may_is_told_as_it_is(
    access: AccessWorld, who: str, spec: dict[str, Any], allowed: bool
) -> None:
    kind = "selfsubjectaccessreviews"
    status, text = await access.call(
        access.tokens[who], "POST", f"/apis/authorization.k8s.io/v1/{kind}", json={"spec": spec}
    )
    assert status == 201
    assert json.loads(text)["status"]["allowed"] is allowed


async def test_a_review_in_protobuf_is_understood(access: AccessWorld) -> None:
    """As kubectl sends it: `k8s\\0`, runtime.Unknown, whose field 2 is the review."""

    def part(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    for verb, allowed in ((b"get", True), (b"delete", False)):
        attributes = part(1, OURS.encode()) + part(2, verb) + part(3, b"kubeflow.org")
        review = part(2, part(1, attributes + part(5, b"experiments")))
        status, text = await access.call(
            access.tokens["reader"],
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            content=b"k8s\0" + part(2, review),
            headers={"content-type": "application/vnd.kubernetes.protobuf"},
        )
        assert (status, json.loads(text)["status"]["allowed"]) == (201, allowed)


# Templates ----------------------------------------------------------------------------------------


async def test_a_template_of_another_namespace_is_not_there(
    access: AccessWorld, tmp_path: Path
) -> None:
    folder = tmp_path / "templates" / THEIRS / "jobs"
    folder.mkdir(parents=True)
    (folder / "main.yaml").write_text("kind: Job # the secret of another team\n")
    named = {"configMapName": "jobs", "configMapNamespace": THEIRS, "templatePath": "main.yaml"}
    spec = {"trialTemplate": {"configMap": named, "primaryContainerName": "main"}}
    status, text = await access.call(
        access.tokens["writer"],
        "PUT",
        f"/v1/namespaces/{OURS}/experiments/borrowed",
        json={"object": katib("borrowed", OURS, **spec)},
    )
    assert status == 422
    assert f"there is no namespace {THEIRS}" in text


# Secrets ------------------------------------------------------------------------------------------


async def test_no_token_is_in_a_log_line_or_an_answer(
    access: AccessWorld, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Canaries: what is shown at the door appears nowhere else, also where it is refused."""
    caplog.set_level(logging.DEBUG)
    shown = [
        access.tokens["reader"],
        access.tokens["expired"],
        "tbs_canary-of-nobody",
        access.issuer.token(),
        access.issuer.token(aud="another"),
        access.issuer.with_the_public_key(),
        access.trial_token(),
        access.trial_token(key=b"f" * 64),
        "sa-good",
        "sa-canary",
    ]
    paths = ("/v1/identity", "/v1/experiments", "/api/v1/pods", "/v1/trials/x", "/nothing")
    with structlog.testing.capture_logs() as logged:
        texts = []
        for token in shown:
            for path in (*paths, f"/v1/namespaces/{THEIRS}/experiments/tune"):
                _, text = await access.call(token, "GET", path)
                texts.append(text)
        access.world.gateway_store.reachable = False
        texts += [(await access.call(token, "GET", "/v1/experiments"))[1] for token in shown]
    out, err = capfd.readouterr()
    everything = "\n".join([*texts, repr(logged), caplog.text, out, err])
    for token in shown:
        secret = token.rpartition(".")[2] if token.count(".") else token
        assert secret not in everything
    assert repr(access.door).count("tbs_") == 0
