"""Where the API server is and who we are, from a service account's folder or a kubeconfig."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from trialbus.adapters.kubernetes_api.credentials import Credentials, credentials_of
from trialbus.adapters.kubernetes_api.pace import LoopClock
from trialbus.kernel.errors import Refused


class HandClock(LoopClock):
    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


def settings(**more: str) -> Any:
    given = {"kubeconfig": "", "kubernetes_api": "http://api:1", "kubernetes_credentials_dir": ""}
    return SimpleNamespace(**{**given, **more})


async def folder_credentials(folder: Path, clock: HandClock) -> Credentials:
    return await credentials_of(settings(kubernetes_credentials_dir=str(folder)), clock)


def kubeconfig(path: Path, user: dict[str, Any]) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://cluster:2/"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


async def test_a_token_that_was_replaced_is_used_after_a_minute(tmp_path: Path) -> None:
    clock = HandClock()
    token = tmp_path / "token"
    token.write_text("one\n")
    credentials = await folder_credentials(tmp_path, clock)
    assert await credentials.authorization() == "Bearer one"
    token.write_text("two\n")
    assert await credentials.authorization() == "Bearer one"
    clock.at += 60
    assert await credentials.authorization() == "Bearer two"


async def test_a_token_that_the_server_refused_is_read_again_at_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    credentials = await folder_credentials(tmp_path, HandClock())
    token.write_text("two")
    credentials.expire()
    assert await credentials.authorization() == "Bearer two"


async def test_a_token_that_is_away_for_a_moment_is_used_on(tmp_path: Path) -> None:
    clock = HandClock()
    (tmp_path / "token").write_text("one")
    credentials = await folder_credentials(tmp_path, clock)
    (tmp_path / "token").unlink()
    clock.at += 60
    assert await credentials.authorization() == "Bearer one"


@pytest.mark.parametrize("files", [{}, {"token": ""}, {"token": "t"}, {"token": "t", "ca.crt": ""}])
async def test_a_folder_that_lacks_something_is_refused(
    tmp_path: Path, files: dict[str, str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    wanted = settings(kubernetes_api="https://api:1", kubernetes_credentials_dir=str(tmp_path))
    with pytest.raises(Refused, match="TRIALBUS_KUBERNETES_CREDENTIALS_DIR"):
        await credentials_of(wanted, HandClock())


async def test_a_kubeconfig_goes_before_the_folder(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {"token": "secret"})
    credentials = await credentials_of(settings(kubeconfig=path), HandClock())
    assert credentials.configuration.host == "http://cluster:2"
    assert await credentials.authorization() == "Bearer secret"


async def test_a_kubeconfig_without_a_token_sends_none(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {})
    credentials = await credentials_of(settings(kubeconfig=path), HandClock())
    assert await credentials.authorization() == ""


async def test_the_plugin_of_a_kubeconfig_is_asked_again_after_a_minute(tmp_path: Path) -> None:
    counter = tmp_path / "count"
    counter.write_text("")
    program = (
        "import json, pathlib; p = pathlib.Path(r'" + str(counter) + "');"
        "p.write_text(p.read_text() + 'x');"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1',"
        "'kind': 'ExecCredential', 'status': {'token': 't%d' % len(p.read_text())}}))"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", program],
        "interactiveMode": "Never",
    }
    path = kubeconfig(tmp_path / "config", {"exec": plugin})
    clock = HandClock()
    credentials = await credentials_of(settings(kubeconfig=path), clock)
    assert [await credentials.authorization() for _ in range(2)] == ["Bearer t1"] * 2
    clock.at += 60
    assert await credentials.authorization() == "Bearer t2"
    (tmp_path / "config").write_text("{}")
    clock.at += 60
    assert await credentials.authorization() == "Bearer t2"


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "a: [", "clusters: 1\ncurrent-context: x"])
async def test_a_kubeconfig_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Refused, match="TRIALBUS_KUBECONFIG"):
        await credentials_of(settings(kubeconfig=str(path)), HandClock())
