"""Parts of a local stack by themselves: who ends one, its locks, its logs."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from trialbus.cli import starting
from trialbus.cli.failures import CommandFailed
from trialbus.local import stack_file
from trialbus.local.service_process import keep_log_short, look_pause_s
from trialbus.local.stack_file import StackStatus


def test_an_outage_is_looked_at_ever_more_seldom() -> None:
    assert [look_pause_s(lasted_s) for lasted_s in (0, 1, 10, 60)] == [0.05, 0.05, 0.5, 1.0]


def test_a_stack_that_others_have_begun_to_use_meanwhile_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "USERS_LOOK_S", 0.01)
    users: list[int] = []

    def look(folder: Path) -> bool:
        """The first look sees nobody; then somebody comes."""
        used = stack_file_is_used(folder)
        if not users:
            users.append(stack_file.open_lock(folder, stack_file.USERS))
            assert stack_file.try_lock(users[0], stack_file.SHARED)
        return used

    stack_file_is_used = stack_file.is_used
    monkeypatch.setattr(stack_file, "is_used", look)
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE) as process:
        try:
            starting._stop_owned(process, tmp_path)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        finally:
            process.kill()
            os.close(users[0])


def test_a_stack_of_nobodys_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "USERS_LOOK_S", 0.01)
    monkeypatch.setattr(starting, "STOP_DEADLINE_S", 0.0)
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE) as process:
        with pytest.raises(CommandFailed, match="was killed"):
            starting._stop_owned(process, tmp_path)
        assert process.returncode == -signal.SIGKILL


def test_a_look_at_the_lock_does_not_keep_a_supervisor_out(tmp_path: Path) -> None:
    (tmp_path / stack_file.LOCK).touch()
    assert not stack_file.is_held(tmp_path)
    descriptor = stack_file.open_lock(tmp_path, stack_file.LOCK)
    try:
        assert stack_file.try_lock(descriptor, stack_file.EXCLUSIVE)
        assert stack_file.is_held(tmp_path)
    finally:
        os.close(descriptor)
    assert not stack_file.is_held(tmp_path)


def test_what_a_killed_supervisor_left_is_not_the_next_ones(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as killed:
        pass
    descriptor = stack_file.open_lock(tmp_path, stack_file.LOCK)
    try:
        assert stack_file.try_lock(descriptor, stack_file.EXCLUSIVE)
        stack_file.write(tmp_path, _status(killed.pid))
        assert stack_file.read_running(tmp_path) is None
        stack_file.write(tmp_path, _status(os.getpid()))
        assert stack_file.read_running(tmp_path) == _status(os.getpid())
    finally:
        os.close(descriptor)


def _status(pid: int) -> StackStatus:
    return StackStatus(http="", grpc="", nats="", mongo="", pid=pid, data_dir="")


def test_a_large_log_is_moved_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "calm.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        keep_log_short(log, max_bytes=1000)
        assert log.read_bytes() == b"old\n" * 100
        keep_log_short(log, max_bytes=100)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert log.with_suffix(".log.1").read_bytes() == b"old\n" * 100
