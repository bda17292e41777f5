"""The servers themselves take the configurations that the charts render."""

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from trialbus.local.nats_accounts import make
from trialbus.local.servers.find import find_mongod, find_nats_server

Object = dict[str, Any]
SERVERS = ["default", "laptop-kind", "namespaced", "production"]


def _configuration(objects: list[Object], name: str, key: str) -> str:
    [found] = [
        it["data"][key]
        for it in objects
        if it["kind"] == "ConfigMap" and it["metadata"]["name"] == name
    ]
    return str(found)


def _certificate(folder: Path) -> None:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trialbus")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for file in ("tls.crt", "ca.crt"):
        (folder / file).write_bytes(certificate)
    (folder / "tls.key").write_bytes(private)


@pytest.mark.servers
@pytest.mark.parametrize("name", SERVERS)
def test_nats_server_takes_its_configuration(
    renderings: Mapping[str, list[Object]], tmp_path: Path, name: str
) -> None:
    make(tmp_path)
    text = _configuration(renderings[name], "trialbus-nats", "nats.conf")
    if "/etc/nats-tls" in text:
        _certificate(tmp_path)
    path = tmp_path / "nats.conf"
    path.write_text(
        text.replace("/etc/nats-tls", str(tmp_path)).replace('"/data"', f'"{tmp_path}"')
    )
    answer = subprocess.run(
        [str(find_nats_server().path), "-t", "-c", path],
        env={**os.environ, "POD_NAME": "trialbus-nats-0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert ("accounts.conf" in text) is (name != "laptop-kind")
    assert text.count("nats-route://") == (3 if name == "production" else 0)


@pytest.mark.servers
@pytest.mark.parametrize("name", SERVERS)
def test_mongod_takes_its_configuration(
    renderings: Mapping[str, list[Object]], tmp_path: Path, name: str
) -> None:
    """It says that it has, and the values as it understands them."""
    text = _configuration(renderings[name], "trialbus-mongodb", "mongod.conf")
    path = tmp_path / "mongod.conf"
    path.write_text(text)
    answer = subprocess.run(
        [str(find_mongod().path), "--config", path, "--outputConfig"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    understood = yaml.safe_load(answer.stdout)
    assert understood["replication"]["replSetName"] == "trialbus"
    assert understood["storage"]["dbPath"] == "/data"
    assert ("keyFile" in understood["security"]) is (name != "laptop-kind")
    assert ("tls" in understood["net"]) is (name == "production")
