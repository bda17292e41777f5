"""What the gateway's door does beside judging tokens: watches of one tenant, limits, headers,
`auth can-i`, and silence about secrets."""

import asyncio
import ipaddress
import json
import logging
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trialbus.adapters.http import Tls, protocol, serving
from trialbus.contracts.token_file import write_tokens
from trialbus.testkit.access_world import OURS, THEIRS, AccessWorld, access_world
from trialbus.testkit.gateway_world import katib
from trialbus.testkit.waits import until
from trialbus_gateway.adapters import bodies, streams

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
            f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=2",
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


# Limits -------------------------------------------------------------------------------------------


async def test_who_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with access_world(tmp_path, rate=2) as access:
        reader, client = access.tokens["reader"], access.world.client
        found = [await access.call(reader, "GET", "/v1/status") for _ in range(6)]
        assert [status for status, _ in found[:4]] == [200] * 4
        assert 429 in {status for status, _ in found}
        for path in ("/v1/status", "/api"):
            answer = await client.get(path, headers=bearer(reader))
            while answer.status_code == 200:
                answer = await client.get(path, headers=bearer(reader))
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["reason"] == "TooManyRequests"
        # Others have their own measure.
        assert (await access.call(access.tokens["writer"], "GET", "/v1/status"))[0] == 200


async def test_one_identity_has_so_many_streams_and_no_more(tmp_path: Path) -> None:
    async with access_world(tmp_path, streams=2) as access:
        path = f"/v1/namespaces/{OURS}/experiments/tune/events?follow=true"
        reader = access.tokens["reader"]
        open_ones = [asyncio.create_task(access.call(reader, "GET", path)) for _ in range(2)]
        await until(lambda: access.door.open_streams("token:reader") == 2, "both are open")
        assert (await access.call(reader, "GET", path))[0] == 429
        watch = f"{WATCHES[0]}?watch=true&timeoutSeconds=5"
        assert (await access.call(reader, "GET", watch))[0] == 429
        assert (await access.call(reader, "GET", "/v1/experiments"))[0] == 200
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        await until(lambda: access.door.open_streams("token:reader") == 0, "they are closed")


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (nested(50_000), "JSON"),
        (nested(500), "deeper"),
        (json.dumps({"object": {"a": list(range(20_001))}}), "more than"),
        ('{"object": {"a": NaN}}', "NaN"),
    ],
)
async def test_bodies_that_are_made_to_hurt_are_refused(
    access: AccessWorld, body: str, words: str
) -> None:
    path = f"/v1/namespaces/{OURS}/experiments/hurt"
    for method, where in (("PUT", path), ("POST", "/v1/events")):
        status, text = await access.call(
            access.tokens["writer"],
            method,
            where,
            content=body,
            headers={"content-type": "application/json"},
        )
        assert status == 400, text
        assert words in text


async def test_what_katib_nests_deepest_is_taken() -> None:
    deep: Any = "worker"
    for name in ("values", "matchExpressions", "labelSelector", "podAffinityTerm"):
        deep = {name: [deep] if name in ("values", "matchExpressions") else deep}
    deep = [{"podAffinity": {"preferred": [deep]}}]
    for name in ("spec", "template", "Worker", "replicas", "spec", "trialSpec"):
        deep = {name: deep}
    assert bodies.strict_json(json.dumps(deep).encode()) == deep


async def test_a_body_that_never_ends_is_given_up(
    access: AccessWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_DEADLINE_S", 0.1)
    async with serving(access.world.app, host="127.0.0.1", port=0) as port:
        head = (
            f"PUT /v1/namespaces/{OURS}/experiments/slow HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            f"authorization: Bearer {access.tokens['writer']}\r\ncontent-length: 100\r\n\r\n"
        )
        answered = await _talk(port, head.encode(), b'{"object": ')
    assert answered.startswith(b"HTTP/1.1 408")


async def hello() -> Starlette:
    async def say(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    return Starlette(routes=[Route("/", say)])


async def _talk(port: int, *pieces: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


async def test_a_connection_that_says_nothing_or_not_all_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "HTTP_HEAD_DEADLINE_S", 0.1)
    async with serving(await hello(), host="127.0.0.1", port=0) as port:
        assert await _talk(port) == b""
        assert await _talk(port, b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ") == b""
        whole = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        answered = await _talk(port, whole, b"GET / HTTP/1.1\r\nx-slow: ")
        assert answered.count(b"hello") == 1


async def test_a_head_that_does_not_end_is_cut_off() -> None:
    async with serving(await hello(), host="127.0.0.1", port=0) as port:
        pieces = [b"GET / HTTP/1.1\r\nx-large: ", *([b"x" * 16_384] * 8)]
        assert (await _talk(port, *pieces)).startswith((b"HTTP/1.1 431", b"reset"))


# TLS ----------------------------------------------------------------------------------------------


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Certificate and key of 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "tls.crt", folder / "tls.key"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    plain = NoEncryption()
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, plain))
    return files


async def test_https_is_served_with_the_given_certificate(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    tls = Tls(certificate=str(certificate), key=str(key))
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with (
        serving(await hello(), host="127.0.0.1", port=0, tls=tls) as port,
        httpx.AsyncClient(verify=trusting) as client,
    ):
        assert (await client.get(f"https://127.0.0.1:{port}/")).text == "hello"
        with pytest.raises(httpx.HTTPError):
            await client.get(f"http://127.0.0.1:{port}/")


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
