"""`trialbus kubeconfig`: what it prints, and what it does to a file that is somebody's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from trialbus.testkit.fake_gateway import FakeGateway, command_code, serving_fake_gateway

OTHERS = """\
apiVersion: v1
kind: Config
clusters:
- name: work
  cluster: {server: https://work.example, certificate-authority-data: QUJD}
- name: trialbus
  cluster: {server: http://127.0.0.1:1}
users:
- name: me
  user:
    token: "0123"
    exec: {command: login, args: null}
contexts:
- name: work
  context: {cluster: work, user: me}
current-context: work
preferences: {}
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[FakeGateway]:
    with serving_fake_gateway() as fake:
        yield fake


def _ours(gateway: FakeGateway, namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "trialbus", "cluster": {"server": gateway.url}}],
        "users": [{"name": "trialbus", "user": {}}],
        "contexts": [
            {
                "name": "trialbus",
                "context": {"cluster": "trialbus", "user": "trialbus", "namespace": namespace},
            }
        ],
        "current-context": "trialbus",
    }


def test_it_is_printed(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_code(gateway, "kubeconfig") == 0
    assert yaml.safe_load(capsys.readouterr().out) == _ours(gateway, "default")


def test_a_new_file_is_for_its_owner_only(gateway: FakeGateway, tmp_path: Path) -> None:
    path = tmp_path / "new" / "config"
    assert command_code(gateway, "kubeconfig", "-n", "lab", "--write", str(path)) == 0
    assert yaml.safe_load(path.read_text()) == _ours(gateway, "lab")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_other_clusters_in_the_file_stay(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, link = tmp_path / "mine", tmp_path / "config"
    path.write_text(OTHERS)
    link.symlink_to(path)
    for _ in range(2):
        assert command_code(gateway, "kubeconfig", "--write", str(link)) == 0
        found, before = yaml.safe_load(path.read_text()), yaml.safe_load(OTHERS)
        assert found["clusters"] == [
            before["clusters"][0],
            {"name": "trialbus", "cluster": {"server": gateway.url}},
        ]
        assert found["users"][:1] == before["users"]
        assert found["contexts"][:1] == before["contexts"]
        assert len(found["users"]) == len(found["contexts"]) == 2
        assert found["current-context"] == "trialbus"
        assert found["preferences"] == {}
    assert link.is_symlink()
    assert "kubectl config use-context work" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["kind: Pod\nmetadata: {}", "a: [", "clusters: text", "- 1"])
def test_a_file_of_another_kind_stays(gateway: FakeGateway, tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.yaml"
    path.write_text(text)
    assert command_code(gateway, "kubeconfig", "--write", str(path)) == 2
    assert path.read_text() == text


def test_a_name_that_no_namespace_can_have_is_refused(gateway: FakeGateway) -> None:
    assert command_code(gateway, "kubeconfig", "-n", "No_Name") == 2
