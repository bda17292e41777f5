"""The files that a trial leaves in its private folder, whatever it makes of that."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from trialbus.ports.launcher import PrivateFile
from trialbus_trial_launcher.adapters.local_process import run_files
from trialbus_trial_launcher.adapters.local_process.folders import RunFolders
from trialbus_trial_launcher.adapters.local_process.run_files import RunFiles

RUN = "5f0c.0.1"
# More than Python's calls may be nested, in a path that Linux still takes.
DEEP = 1200


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(RunFolders(tmp_path))


@pytest.fixture
def private(tmp_path: Path) -> Path:
    path = tmp_path / RUN / "private"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def deep(private: Path) -> Iterator[str]:
    """The name of a file far below: too far for those who make and remove folders by calls."""
    top, next_ = private / "d", private / "next"
    top.mkdir()
    (top / "far").write_bytes(b"1")
    for _ in range(DEEP - 1):
        next_.mkdir()
        top.rename(next_ / "d")
        next_.rename(top)
    yield f"{'d/' * DEEP}far"
    while (top / "d").exists():
        (top / "d").rename(next_)
        top.rmdir()
        next_.rename(top)
    shutil.rmtree(top)


def test_files_are_found_however_deep_they_lie(files: RunFiles, private: Path, deep: str) -> None:
    (private / "near").write_bytes(b"22")
    assert files.private_files(RUN, "") == [
        PrivateFile(path=deep, size_bytes=1),
        PrivateFile(path="near", size_bytes=2),
    ]


def test_what_is_too_deep_to_be_removed_stops_no_launcher(
    files: RunFiles, private: Path, deep: str, tmp_path: Path
) -> None:
    folders = RunFolders(tmp_path)
    folders.tidy([RUN])
    folders.delete([str(private)])
    run = tmp_path / RUN
    run.rename(tmp_path / ".old-run")
    RunFolders(tmp_path)
    (tmp_path / ".old-run").rename(run)
    assert files.private_files(RUN, "")[0].path == deep


def test_links_to_folders_and_what_is_no_file_are_passed_over(
    files: RunFiles, private: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "theirs").write_bytes(b"3")
    (private / "link").symlink_to(tmp_path / "elsewhere")
    (private / "loop").symlink_to(private)
    (private / "gone").symlink_to(private / "nowhere")
    os.mkfifo(private / "pipe")
    (private / "own").write_bytes(b"1")
    assert files.private_files(RUN, "") == [PrivateFile(path="own", size_bytes=1)]


def test_of_very_many_files_and_folders_so_many_are_looked_at_and_no_more(
    files: RunFiles, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_files, "_MAX_LISTED", 20)
    for number in range(15):
        (private / f"file-{number}").write_bytes(b"")
        (private / f"folder-{number}" / "below").mkdir(parents=True)
        (private / f"folder-{number}" / "file").write_bytes(b"")
    assert 0 < len(files.private_files(RUN, "")) <= 20


def test_nobody_who_is_in_the_way_makes_a_launcher_wait(files: RunFiles, tmp_path: Path) -> None:
    run = tmp_path / RUN
    run.mkdir()
    assert files.keep(RUN, "spool.jsonl", 0, b"one\n")
    with (run / "spool.jsonl").open("rb") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert not files.keep(RUN, "spool.jsonl", 4, b"two\n")
    assert files.keep(RUN, "spool.jsonl", 4, b"two\n")
    os.mkfifo(run / "pipe.txt")
    (run / "link.txt").symlink_to(run / "spool.jsonl")
    (run / "folder.txt").mkdir()
    for name in ("pipe.txt", "link.txt", "folder.txt"):
        assert not files.keep(RUN, name, 0, b"three\n")
    assert (run / "spool.jsonl").read_bytes() == b"one\ntwo\n"
