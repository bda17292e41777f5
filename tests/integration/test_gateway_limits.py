"""What the gateway takes of one caller: requests, streams, depth, time; and TLS."""

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trialbus.adapters.http import Tls, protocol, serving
from trialbus.testkit.access_world import OURS, AccessWorld, access_world
from trialbus.testkit.waits import until
from trialbus_gateway.adapters import bodies

WATCH = "/apis/kubeflow.org/v1beta1/experiments?watch=true&timeoutSeconds=5"


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[AccessWorld]:
    async with access_world(tmp_path) as made:
        yield made


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# Limits -------------------------------------------------------------------------------------------


async def test_who_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with access_world(tmp_path, rate=2) as access:
        reader, client = access.tokens["reader"], access.world.client
        found = [await access.call(reader, "GET", "/v1/status") for _ in range(4)]
        assert [status for status, _ in found] == [200] * 4
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
        assert (await access.call(reader, "GET", WATCH))[0] == 429
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
