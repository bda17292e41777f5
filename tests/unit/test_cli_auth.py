"""`trialbus auth` and tokens on the command line."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trialbus.cli.choices import TokenRole
from trialbus.cli.invocation import this_command
from trialbus.cli.main import exit_code
from trialbus.contracts.token_file import hash_of, read_tokens
from trialbus.kernel.access import GIVEN_ROLES
from trialbus.testkit.fake_gateway import FakeGateway, serving_fake_gateway

WHO = {
    "required": True,
    "name": "token:ci",
    "by": "static token",
    "role": "writer",
    "actions": ["read", "command"],
    "namespaces": ["team-a"],
    "expires": None,
}


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving_fake_gateway() as fake:
        fake.says("GET /v1/identity", (200, WHO))
        yield fake


def code_of(*words: str) -> int:
    """Of a command in this process."""
    before = sys.argv
    sys.argv = ["trialbus", *words]
    try:
        return exit_code()
    finally:
        sys.argv = before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "tokens.yaml"


def created(file: Path, name: str, *more: str) -> int:
    return code_of("auth", "token", "create", name, "--file", str(file), *more)


def test_the_roles_of_the_command_line_are_those_of_the_door() -> None:
    assert [role.value for role in TokenRole] == [role.value for role in GIVEN_ROLES]


def test_a_token_is_shown_once_and_its_hash_is_kept(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert created(file, "ci", "-n", "team-a", "-n", "team-b", "--role", "writer") == 0
    token = capsys.readouterr().out.strip()
    assert len(token) > 40
    [entry] = read_tokens(file.read_bytes())
    assert (entry.name, entry.role, entry.namespaces) == ("ci", "writer", ("team-a", "team-b"))
    assert entry.sha256 == hash_of(token)
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert created(file, "ci", "-n", "team-a") == 2
    assert code_of("auth", "token", "list", "--file", str(file)) == 0
    shown = capsys.readouterr().out
    assert "team-a,team-b" in shown
    assert token not in shown
    assert entry.sha256 not in shown


def test_a_file_keeps_its_mode_and_its_other_tokens(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert created(file, "one", "-n", "*", "--role", "admin", "--expires", "never") == 0
    file.chmod(0o640)
    assert created(file, "two", "-n", "team-a") == 0
    assert code_of("auth", "token", "revoke", "one", "--file", str(file)) == 0
    assert code_of("auth", "token", "revoke", "one", "--file", str(file)) == 2
    assert [entry.name for entry in read_tokens(file.read_bytes())] == ["two"]
    assert file.stat().st_mode & 0o777 == 0o640
    capsys.readouterr()


@pytest.mark.parametrize(
    "more",
    [
        ["-n", "Team_A"],
        ["-n", "team-a", "--expires", "soon"],
        ["-n", "team-a", "--expires", "0d"],
        ["-n", "team-a", "--role", "trial"],
        [],
    ],
)
def test_what_no_token_can_be_is_refused(
    file: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert created(file, "x", *more) == 2
    assert capsys.readouterr().out == ""
    assert not file.exists()


def test_a_spoilt_file_stays_as_it_is(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir()
    file.write_text("tokens: {}\n")
    assert created(file, "ci", "-n", "team-a") == 2
    assert file.read_text() == "tokens: {}\n"
    assert "stays" in capsys.readouterr().err


def test_commands_show_the_token_of_the_environment(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIALBUS_TOKEN", "tbs_x")
    assert code_of("auth", "check", "--url", gateway.url) == 0
    assert gateway.shown == ["Bearer tbs_x"]
    assert "team-a" in capsys.readouterr().out
    monkeypatch.delenv("TRIALBUS_TOKEN")
    assert code_of("auth", "check", "--json", "--url", gateway.url) == 0
    assert gateway.shown[1:] == [""]
    assert json.loads(capsys.readouterr().out) == WHO


def test_a_token_given_as_an_option_counts(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert code_of("--token", "tbs_y", "auth", "check", "--url", gateway.url) == 0
    assert gateway.shown == ["Bearer tbs_y"]
    capsys.readouterr()


def test_who_is_nobody_is_told_what_to_set(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says("GET /v1/identity", (401, {"message": "a token is needed"}))
    assert code_of("auth", "check", "--url", gateway.url) == 2
    assert "TRIALBUS_TOKEN" in capsys.readouterr().err


def test_a_command_to_copy_holds_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["trialbus", "--token", "tbs_z", "get", "trials", "--token=tbs_z"]
    monkeypatch.setattr("sys.argv", words)
    assert "tbs_z" not in this_command("--data-dir", "d")
    assert this_command("x").endswith("get trials x")


def test_kubectl_gets_the_token_and_what_the_server_is_checked_by(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRIALBUS_TOKEN", "tbs_k")
    assert code_of("kubeconfig", "--url", gateway.url) == 0
    shown = capsys.readouterr().out
    assert "token: tbs_k" in shown
    assert "certificate-authority" not in shown
