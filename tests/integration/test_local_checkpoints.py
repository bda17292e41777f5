"""Folders of checkpoints: there before a trial starts, handed over whole or not at all."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trialbus.kernel.errors import Transient
from trialbus.ports.launcher import CheckpointFolder, RunPlan, RunState
from trialbus.testkit.run_probes import (
    WAIT_S,
    end_of,
    launcher_process,
    names_in,
    run,
    shell,
    status_of,
)
from trialbus.testkit.waits import until
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher, inherit


@pytest.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[LocalProcessLauncher]:
    launcher = LocalProcessLauncher(tmp_path / "runs")
    yield launcher
    await launcher.close()


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A checkpoint with what may be in one."""
    folder = tmp_path / "checkpoints" / "3"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights").write_bytes(bytes(range(256)) * 100)
    (folder / "step").write_text("3\n")
    (folder / "step").chmod(0o640)
    os.utime(folder / "step", (1_000, 1_000))
    (tmp_path / "outside").write_text("not of the checkpoint")
    (folder / "latest").symlink_to("deep/weights")
    (folder / "absolute").symlink_to(folder / "step")
    (folder / "leads-out").symlink_to(tmp_path / "outside")
    (folder / "leads-to-a-folder-outside").symlink_to(tmp_path)
    (folder / "dangling").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(folder)
        made.bind("socket")
    return folder


@pytest.fixture(autouse=True)
def _stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path.cwd())


def plan(own: Path, command: str, copy_of: Path | None = None, attempt: int = 1) -> RunPlan:
    checkpoint = CheckpointFolder(path=str(own), copy_of="" if copy_of is None else str(copy_of))
    return RunPlan(run_id=f"u.7.{attempt}", command=shell(command), checkpoint=checkpoint)


async def test_the_folder_is_there_and_survives_its_attempts(
    launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    own = tmp_path / "checkpoints" / "u" / "7"
    _, output = await run(launcher, plan(own, f"ls {own}; echo one > {own}/kept"))
    assert output == b""
    _, output = await run(launcher, plan(own, f"cat {own}/kept", attempt=2))
    assert output == b"one\n"
    await launcher.forget(["u.7.1", "u.7.2"])
    assert names_in(own) == ["kept"]
    await launcher.forget_checkpoints(str(own.parent))
    assert names_in(tmp_path / "checkpoints") == []
    await launcher.forget_checkpoints(str(own.parent))


async def test_a_place_that_takes_no_folder_is_not_able_now(
    launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Transient, match="cannot start runs here now"):
        await launcher.start([plan(tmp_path / "file" / "7", "true")])
    assert (await status_of(launcher, "u.7.1")).state is RunState.ABSENT


async def test_a_parents_content_is_copied_before_the_command_starts(
    launcher: LocalProcessLauncher, tmp_path: Path, parent: Path
) -> None:
    own = parent.parent / "7"
    status, output = await run(launcher, plan(own, f"cat {own}/step; echo 4 > {own}/step", parent))
    assert (status.exit_code, output) == (0, b"3\n")
    assert (parent / "step").read_text() == "3\n"
    assert (own / "deep" / "weights").read_bytes() == (parent / "deep" / "weights").read_bytes()
    assert names_in(own) == sorted(set(names_in(parent)) - {"pipe", "socket"})
    links = {path.name: str(path.readlink()) for path in own.iterdir() if path.is_symlink()}
    assert links == {
        "latest": "deep/weights",
        "absolute": str(own / "step"),  # not the parent's any more
        "leads-out": str(tmp_path / "outside"),
        "leads-to-a-folder-outside": str(tmp_path),
        "dangling": "nothing",
    }
    # The second attempt finds what the first one left.
    _, output = await run(launcher, plan(own, f"cat {own}/step", parent, attempt=2))
    assert output == b"4\n"


def test_times_and_modes_are_the_parents(parent: Path) -> None:
    own = parent.parent / "7"
    inherit.inherit(str(parent), str(own))
    looks = (own / "step").stat()
    assert (looks.st_mode & 0o777, looks.st_mtime) == (0o640, 1_000)


async def test_a_checkpoint_that_is_gone_ends_the_run_with_the_reason(
    launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    own = tmp_path / "checkpoints" / "7"
    status, output = await run(launcher, plan(own, "echo never", tmp_path / "gone"))
    assert status.exit_code == 126
    assert output.startswith(f"trialbus: cannot copy the checkpoint {tmp_path}/gone: ".encode())
    assert not own.exists()


async def test_a_missing_command_is_told_as_without_a_checkpoint(
    launcher: LocalProcessLauncher, tmp_path: Path, parent: Path
) -> None:
    checkpoint = CheckpointFolder(path=str(tmp_path / "7"), copy_of=str(parent))
    given = RunPlan(run_id="u.7.1", command=("no-such-program",), checkpoint=checkpoint)
    status, _ = await run(launcher, given)
    assert (status.exit_code, status.message) == (127, "command not found: 'no-such-program'")


async def test_the_command_is_as_if_nothing_had_been_copied_before_it(
    launcher: LocalProcessLauncher, parent: Path
) -> None:
    """Signals that Python ignores are not ignored, and words stay as they are."""
    own = parent.parent / "7"
    code = "grep SigIgn /proc/$$/status; printf '[%s]' \"$@\""
    checkpoint = CheckpointFolder(path=str(own), copy_of=str(parent))
    command = ("/bin/sh", "-c", code, "sh", "", "a b", "-x", "\n")
    with_copy = RunPlan(run_id="u.7.1", command=command, checkpoint=checkpoint)
    _, with_it = await run(launcher, with_copy)
    _, without = await run(launcher, RunPlan(run_id="u.8.1", command=command))
    assert with_it == without
    assert b"[][a b][-x][\n]" in without


def test_a_copy_that_was_killed_is_never_taken_for_a_checkpoint(parent: Path) -> None:
    """Killed at each of its first calls to the system that change anything, then repeated."""
    own = parent.parent / "7"
    code = (
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(Path(inherit.__file__).parent)!r})\n"
        "import inherit\n"
        "left = int(sys.argv[3])\n"
        "def dying(call):\n"
        "    def counted(*args, **kwargs):\n"
        "        global left\n"
        "        if left == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        left -= 1\n"
        "        return call(*args, **kwargs)\n"
        "    return counted\n"
        "for name in ('mkdir', 'symlink', 'rename', 'fsync'):\n"
        "    setattr(os, name, dying(getattr(os, name)))\n"
        "inherit.inherit(*sys.argv[1:3])\n"
    )
    died = 0
    for calls in range(100):
        done = subprocess.run(
            [sys.executable, "-c", code, str(parent), str(own), str(calls)], check=False
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        died += 1
        if own.exists():  # only the last step was missing
            assert names_in(own) == sorted(set(names_in(parent)) - {"pipe", "socket"})
    assert died >= 10
    assert names_in(parent.parent) == ["3", "7"]
    assert (own / "deep" / "weights").read_bytes() == (parent / "deep" / "weights").read_bytes()


async def test_a_launcher_killed_while_it_is_copied_leaves_a_run_that_ends(
    tmp_path: Path, parent: Path
) -> None:
    """The copy belongs to the run: who adopts the run waits for it, and nothing starts twice."""
    own, probe = parent.parent / "7", tmp_path / "started"
    with (parent / "large").open("wb") as large:
        large.truncate(100_000_000)
    process = launcher_process(
        tmp_path / "runs",
        """
        from trialbus.ports.launcher import CheckpointFolder
        own, parent, probe = sys.argv[1:]
        checkpoint = CheckpointFolder(path=own, copy_of=parent)
        command = ("/bin/sh", "-c", f"echo started >> {probe}; ls {own}")
        await launcher.start([RunPlan(run_id="u.7.1", command=command, checkpoint=checkpoint)])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        str(own),
        str(parent),
        str(probe),
    )
    assert process.wait(WAIT_S) == -signal.SIGKILL
    adopting = LocalProcessLauncher(tmp_path / "runs")
    try:
        await adopting.start([plan(own, f"echo started >> {probe}", parent)])

        async def has_ended() -> bool:
            return (await status_of(adopting, "u.7.1")).state is RunState.FINISHED

        await until(has_ended, "the end of the run", within_s=WAIT_S)
        assert (await status_of(adopting, "u.7.1")).exit_code == 0
    finally:
        await adopting.close()
    assert probe.read_text() == "started\n"
    assert (own / "large").stat().st_size == (parent / "large").stat().st_size


async def test_a_stop_reaches_a_run_that_is_still_copying(
    launcher: LocalProcessLauncher, parent: Path, tmp_path: Path
) -> None:
    with (parent / "large").open("wb") as large:
        large.truncate(8_000_000_000)  # sparse: takes no room to have, much time to copy
    own, probe = parent.parent / "7", tmp_path / "started"
    await launcher.start([plan(own, f"echo started > {probe}", parent)])

    async def copies() -> bool:
        return any(name.startswith("7.unfinished-") for name in names_in(own.parent))

    await until(copies, "a copy", within_s=WAIT_S)
    await launcher.stop("u.7.1", reason="GoalReached", grace_s=60.0)
    status = await end_of(launcher, "u.7.1")
    assert (status.signal, status.stop_reason) == (signal.SIGTERM, "GoalReached")
    assert names_in(own.parent) == ["3"]
    assert not probe.exists()
