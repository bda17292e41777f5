"""`--map-image` and `--map-path`: what they take, what they refuse, what a running stack keeps."""

import json
import os
from pathlib import Path

import pytest

from trialbus.cli.failures import CommandFailed
from trialbus.cli.mappings import notes_on_mappings, take_mappings
from trialbus.local.stack_file import IMAGE_MAP, PATH_MAP, StackStatus
from trialbus.runtime.settings import Settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is called: with a folder `code`, and nothing mapped yet."""
    for name in (IMAGE_MAP, PATH_MAP):
        monkeypatch.setenv(name, "{}")  # put back afterwards
    (tmp_path / "code").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def running(images: dict[str, str], paths: dict[str, str]) -> StackStatus:
    return StackStatus(
        http="", grpc="", nats="", mongo="", pid=1, data_dir="/d", image_map=images, path_map=paths
    )


def test_mappings_reach_the_services_settings_as_whole_paths(folder: Path) -> None:
    take_mappings(
        ["host:5000/a/train:1=code", f"b={folder}/code"],
        ["/opt/app=code", "/etc/x.conf=file"],
        url=None,
    )
    settings = Settings()  # type: ignore[call-arg]
    assert settings.image_map == {"host:5000/a/train:1": folder / "code", "b": folder / "code"}
    assert settings.path_map == {"/opt/app": folder / "code", "/etc/x.conf": folder / "file"}


def test_flags_add_to_the_environment_and_win(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATH_MAP, json.dumps({"/a": "/old", "/b": "/kept"}))
    take_mappings([], ["/a=code"], url=None)
    assert json.loads(os.environ[PATH_MAP]) == {"/a": f"{folder}/code", "/b": "/kept"}
    assert os.environ[IMAGE_MAP] == "{}"


@pytest.mark.parametrize(
    ("images", "paths", "words"),
    [
        (["train"], [], "--map-image train: must be IMAGE=DIR"),
        (["=code"], [], "must be IMAGE=DIR"),
        (["train="], [], "must be IMAGE=DIR"),
        (["train=none"], [], "none is no folder"),
        (["train=file"], [], "file is no folder"),
        ([], ["/opt"], "--map-path /opt: must be IMAGE_PATH=LOCAL_PATH"),
        ([], ["opt=code"], "must be an absolute path below /"),
        ([], ["/=code"], "must be an absolute path below /"),
        ([], ["/opt=none"], "none is not there"),
    ],
)
def test_what_cannot_be_meant_is_refused(images: list[str], paths: list[str], words: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        take_mappings(images, paths, url=None)
    assert words in str(caught.value)
    assert caught.value.code == 2


def test_a_stack_elsewhere_takes_no_mappings() -> None:
    with pytest.raises(CommandFailed, match="belong to the stack"):
        take_mappings([], ["/opt=code"], url="http://127.0.0.1:1")
    take_mappings([], [], url="http://127.0.0.1:1")


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_an_unreadable_setting_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMAGE_MAP, text)
    with pytest.raises(CommandFailed, match=f"{IMAGE_MAP} in the environment"):
        take_mappings([], [], url=None)


def test_it_is_said_when_a_running_stack_has_other_mappings(folder: Path) -> None:
    take_mappings(["train=code"], ["/opt=code"], url=None)
    code = f"{folder}/code"
    assert notes_on_mappings(running({"train": code, "b": "/b"}, {"/opt": code}), folder) == []
    first, second = notes_on_mappings(running({"b": "/b"}, {"/opt": "/other"}), folder)
    assert "keeps its own mappings: --map-image b=/b --map-path /opt=/other" in first
    assert f"down --data-dir {folder}" in second
    assert "mappings: none" in notes_on_mappings(running({}, {}), folder)[0]
