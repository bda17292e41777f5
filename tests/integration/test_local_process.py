"""Runs as local processes under what a machine does to them: crashes, races, hostile programs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trialbus.kernel.errors import Poison, Transient
from trialbus.ports.launcher import RunPlan, RunState, RunStatus
from trialbus.testkit.waits import until, until_sync
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher, processes, spawn
from trialbus_trial_launcher.adapters.local_process.folders import CLAIM, OUTPUT
from trialbus_trial_launcher.adapters.local_process.processes import open_marked

RUN = "0b1e.0.1"
WAIT_S = 30.0
SHELLS = [
    shell for shell in ("/usr/bin/dash", "/usr/bin/bash", "/bin/busybox") if Path(shell).exists()
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Whatever a test leaves alive of its runs is killed by its mark."""
    folder = tmp_path / "runs"
    yield folder
    for pid in marked_processes(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
async def launcher(folder: Path) -> AsyncIterator[LocalProcessLauncher]:
    launcher = LocalProcessLauncher(folder)
    yield launcher
    await launcher.close()


def marked_processes(folder: Path) -> list[int]:
    """The pid of every process of any run below the folder, found without the code under test."""
    mark = f"{spawn.FOLDER_VARIABLE}={folder}/".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


def is_alive(pid: int) -> bool:
    """Also a zombie counts as dead."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes() != b""
    return False


def sleeper(env: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "600"], env=env, start_new_session=True)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(code), *arguments)


def shell(code: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", code)


async def status_of(launcher: LocalProcessLauncher, run_id: str = RUN) -> RunStatus:
    return (await launcher.status([run_id]))[run_id]


async def end_of(launcher: LocalProcessLauncher, run_id: str = RUN) -> RunStatus:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if run_id in await launcher.ended(timeout_s=WAIT_S):
            return await status_of(launcher, run_id)
    raise AssertionError(f"no word of the end of {run_id}")


async def output_of(launcher: LocalProcessLauncher, run_id: str = RUN) -> bytes:
    return await launcher.read(run_id, 0, 1024 * 1024)


async def run(launcher: LocalProcessLauncher, plan: RunPlan) -> tuple[RunStatus, bytes]:
    await launcher.start([plan])
    status = await end_of(launcher, plan.run_id)
    return status, await output_of(launcher, plan.run_id)


async def until_output(launcher: LocalProcessLauncher, expected: bytes) -> None:
    async def has_written() -> bool:
        return expected in await output_of(launcher)

    await until(has_written, f"output {expected!r}", within_s=WAIT_S)


def launcher_process(folder: Path, body: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Another process that has `launcher` over the same folder and runs `body` in a coroutine."""
    program = (
        textwrap.dedent("""
        import asyncio, os, signal, sys
        from pathlib import Path
        from trialbus.ports.launcher import RunPlan
        from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher
        async def main(launcher):
        """)
        + textwrap.indent(textwrap.dedent(body), "    ")
        + f"\nasyncio.run(main(LocalProcessLauncher(Path({str(folder)!r}))))\n"
    )
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env={**os.environ, "PYTHONPATH": path}
    )


# Started once -------------------------------------------------------------------------------------


async def test_a_run_survives_kill_9_of_its_launcher_and_is_adopted(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    probe = tmp_path / "probe"
    command = shell(
        f"echo x >> {probe}; echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 7"
    )
    starter = launcher_process(
        folder,
        f"""
        await launcher.start([RunPlan(run_id={RUN!r}, command={command!r})])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert starter.wait(WAIT_S) == -signal.SIGKILL
    assert (await status_of(launcher)).state is RunState.RUNNING
    await launcher.start([RunPlan(run_id=RUN, command=command)])
    await until_output(launcher, b"up")
    (tmp_path / "go").touch()
    assert (await end_of(launcher)).exit_code == 7
    assert probe.read_text() == "x\n"


async def test_of_twenty_launchers_that_start_the_same_runs_one_wins_each(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    probe, go, runs = tmp_path / "probe", tmp_path / "go", [f"0b1e.{i}.1" for i in range(5)]
    racers = [
        launcher_process(
            folder,
            f"""
            command = ("/bin/sh", "-c", 'echo "$0" >> {probe}')
            plans = [RunPlan(run_id=run_id, command=(*command, run_id)) for run_id in {runs!r}]
            print("ready", file=open({str(tmp_path)!r} + "/ready." + sys.argv[1], "w"))
            while not os.path.exists({str(go)!r}):
                pass
            await launcher.start(plans)
            """,
            str(number),
        )
        for number in range(20)
    ]
    await until(lambda: len(list(tmp_path.glob("ready.*"))) == 20, "all ready", within_s=WAIT_S)
    go.touch()
    assert [racer.wait(WAIT_S) for racer in racers] == [0] * 20

    async def all_ended() -> bool:
        found = await launcher.status(runs)
        return all(status.state is RunState.FINISHED for status in found.values())

    await until(all_ended, "all ended", within_s=WAIT_S)
    assert sorted(probe.read_text().split()) == runs
    assert names_in(folder) == runs


@pytest.mark.parametrize("moment", ["posix_spawn", "rename"])
async def test_a_launcher_that_dies_before_the_spawn_leaves_no_second_start(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path, moment: str
) -> None:
    probe = tmp_path / "probe"
    command = shell(f"echo x >> {probe}")
    starter = launcher_process(
        folder,
        f"""
        os.{moment} = lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL)
        await launcher.start([RunPlan(run_id={RUN!r}, command={command!r})])
        """,
    )
    assert starter.wait(WAIT_S) == -signal.SIGKILL
    expected = RunState.LOST if moment == "posix_spawn" else RunState.ABSENT
    assert (await status_of(launcher)).state is expected
    await launcher.start([RunPlan(run_id=RUN, command=command)])
    if expected is RunState.ABSENT:
        assert (await end_of(launcher)).exit_code == 0
        assert probe.read_text() == "x\n"
    else:
        assert (await status_of(launcher)).state is RunState.LOST
        assert not probe.exists()


def until_started(folder: Path, count: int) -> None:
    until_sync(lambda: len(list(folder.glob("0b1e.*"))) >= count, f"{count} runs", within_s=WAIT_S)


async def test_launchers_that_are_killed_at_any_moment_start_each_run_at_most_once(
    folder: Path, launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    probe, runs = tmp_path / "probe", [f"0b1e.{i}.1" for i in range(120)]
    probing = ("/bin/sh", "-c", f'echo "$0" >> {probe}')
    body = f"""
        plans = [RunPlan(run_id=run_id, command=(*{probing!r}, run_id)) for run_id in {runs!r}]
        for plan in plans:
            await launcher.start([plan])
    """
    for kill in range(12):
        starter = launcher_process(folder, body)
        until_started(folder, 5 + 8 * kill)
        starter.kill()
        assert starter.wait(WAIT_S) == -signal.SIGKILL
    await launcher.start([RunPlan(run_id=run_id, command=(*probing, run_id)) for run_id in runs])

    async def all_over() -> bool:
        states = {status.state for status in (await launcher.status(runs)).values()}
        return states <= {RunState.FINISHED, RunState.LOST}

    await until(all_over, "all over", within_s=WAIT_S)
    executed = probe.read_text().split()
    assert len(executed) == len(set(executed)), "a run was executed twice"
    finished = [r for r, s in (await launcher.status(runs)).items() if s.state is RunState.FINISHED]
    assert set(finished) <= set(executed)
    # Whatever was not executed is visible as lost; a kill costs one run at most.
    assert len(executed) >= len(runs) - 12


async def test_a_killed_wrapper_takes_its_command_along_and_the_run_is_lost(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    await launcher.start([RunPlan(run_id=RUN, command=shell("echo $PPID; exec sleep 600"))])
    await until_output(launcher, b"\n")
    os.kill(int(await output_of(launcher)), signal.SIGKILL)
    status = await end_of(launcher)
    assert (status.state, status.stop_reason) == (RunState.LOST, "")
    assert marked_processes(folder) == []


async def test_a_wrapper_that_was_killed_while_no_launcher_lived_ends_as_lost(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("echo $PPID; exec sleep 600"))])
    await until_output(first, b"\n")
    await first.close()
    wrapper = int(await output_of(launcher))
    os.kill(wrapper, signal.SIGKILL)
    await until(lambda: not is_alive(wrapper), "the wrapper is gone")
    assert (await status_of(launcher)).state is RunState.RUNNING  # the command computes on
    assert (await end_of(launcher)).state is RunState.LOST
    assert marked_processes(folder) == []


async def test_a_stop_outlives_the_launcher_that_was_asked_for_it(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("trap '' TERM; echo up; sleep 600"))])
    await until_output(first, b"up")
    await first.stop(RUN, reason="GoalReached", grace_s=0.3)
    await first.close()
    assert (await status_of(launcher)).state is RunState.RUNNING
    status = await end_of(launcher)
    assert (status.signal, status.stop_reason) == (9, "GoalReached")


async def test_a_stop_of_a_run_whose_launcher_died_between_kill_and_result_is_settled(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("trap '' TERM; echo up; sleep 600"))])
    await until_output(first, b"up")
    await first.stop(RUN, reason="GoalReached", grace_s=600)
    await first.close()
    for pid in marked_processes(folder):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not marked_processes(folder), "all are gone", within_s=15)
    status = await status_of(launcher)
    assert (status.state, status.signal) == (RunState.FINISHED, 9)
    assert status.stop_reason == "GoalReached"
    finished_at = (await status_of(launcher)).finished_at
    assert (await status_of(launcher)).finished_at == finished_at is not None


async def test_a_place_that_cannot_spawn_now_gives_the_claim_back(
    folder: Path, launcher: LocalProcessLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_processes(*_arguments: object, **_options: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", out_of_processes)
        with pytest.raises(Transient, match="temporarily unavailable"):
            await launcher.start([RunPlan(run_id=RUN, command=("true",))])
    assert (await status_of(launcher)).state is RunState.ABSENT
    assert (await run(launcher, RunPlan(run_id=RUN, command=("true",))))[0].exit_code == 0


async def test_a_claim_that_a_power_failure_emptied_is_lost_and_not_started(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    (folder / RUN).mkdir()
    (folder / RUN / CLAIM).touch()
    await launcher.start([RunPlan(run_id=RUN, command=("true",))])
    assert await status_of(launcher) == RunStatus(run_id=RUN, state=RunState.LOST)


async def test_a_torn_result_is_no_result(folder: Path, launcher: LocalProcessLauncher) -> None:
    await run(launcher, RunPlan(run_id=RUN, command=("true",)))
    claim = folder / RUN / CLAIM
    claim.write_bytes(claim.read_bytes()[:-1])
    assert (await status_of(launcher)).state is RunState.LOST


# Stopping -----------------------------------------------------------------------------------------


async def test_sigterm_reaches_every_process_of_the_group_and_the_result_is_the_commands(
    launcher: LocalProcessLauncher,
) -> None:
    code = "trap 'echo child' TERM; sleep 600 & trap 'echo bye; exit 5' TERM; echo up; wait"
    await launcher.start([RunPlan(run_id=RUN, command=shell(code))])
    await until_output(launcher, b"up")
    await launcher.stop(RUN, reason="EarlyStopped", grace_s=60)
    status = await end_of(launcher)
    assert (status.exit_code, status.stop_reason) == (5, "EarlyStopped")
    assert await output_of(launcher) == b"up\nbye\n"


async def test_fifty_children_that_ignore_sigterm_and_leave_the_group_are_gone_after_a_stop(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    code = """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for number in range(50):
            if os.fork() == 0:
                if number % 2:
                    os.setsid()
                if number % 5 == 0:
                    os.closerange(0, 100)
                time.sleep(600)
        os.write(1, b"up")
        time.sleep(600)
    """
    await launcher.start([RunPlan(run_id=RUN, command=python(code))])
    await until_output(launcher, b"up")
    assert len(marked_processes(folder)) == 52
    await launcher.stop(RUN, reason="EarlyStopped", grace_s=0.1)
    assert (await end_of(launcher)).signal == 9
    await until(lambda: not marked_processes(folder), "all are gone", within_s=15)


async def test_a_command_that_forks_all_the_time_is_gone_after_a_stop(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    # Each child moves to a session of its own, forks the next and ends: never more than a few.
    code = """
        import os, time
        os.write(1, b"up")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if os.fork() != 0:
                os._exit(0)
            os.setsid()
    """
    await launcher.start([RunPlan(run_id=RUN, command=python(code))])
    await until_output(launcher, b"up")
    await end_of(launcher)
    await until(lambda: not marked_processes(folder), "all are gone", within_s=15)


async def test_what_a_finished_command_left_in_the_background_is_ended(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    code = "sleep 600 & setsid sleep 600 & exit 3"
    status, _ = await run(launcher, RunPlan(run_id=RUN, command=shell(code)))
    assert (status.state, status.exit_code) == (RunState.FINISHED, 3)
    await until(lambda: not marked_processes(folder), "all are gone", within_s=15)


async def test_what_was_left_while_no_launcher_lived_is_ended_by_the_next(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    first = LocalProcessLauncher(folder)
    await first.start([RunPlan(run_id=RUN, command=shell("setsid sleep 600 & exit 3"))])
    await first.close()
    await until(lambda: b"exit 3\n" in (folder / RUN / CLAIM).read_bytes(), "it ends")
    assert len(marked_processes(folder)) >= 1
    assert (await status_of(launcher)).exit_code == 3
    await until(lambda: not marked_processes(folder), "all are gone", within_s=15)


async def test_a_recycled_pid_is_never_signalled(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    """The journal names the pid of a stranger, and the lock is held: the worst case."""
    stranger = sleeper(dict(os.environ))
    try:
        first = LocalProcessLauncher(folder)
        await first.start([RunPlan(run_id=RUN, command=shell("echo $PPID; exec sleep 600"))])
        await until_output(first, b"\n")
        await first.close()
        wrapper = int(await output_of(launcher))
        claim = folder / RUN / CLAIM
        journal = claim.read_bytes().replace(b"pid %d\n" % wrapper, b"pid %d\n" % stranger.pid)
        claim.write_bytes(journal)
        assert open_marked(stranger.pid, b"TRIALBUS_RUN_FOLDER=" + bytes(folder / RUN)) is None
        await launcher.stop(RUN, reason="EarlyStopped", grace_s=0)
        assert (await end_of(launcher)).stop_reason == "EarlyStopped"
        assert marked_processes(folder) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_without_group_signals_by_pidfd_an_older_kernel_does_as_well(
    folder: Path, launcher: LocalProcessLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = signal.pidfd_send_signal

    def older_kernel(pidfd: int, number: int, info: None = None, flags: int = 0) -> None:
        if flags:
            raise OSError(22, "Invalid argument")
        real(pidfd, number)

    monkeypatch.setattr(signal, "pidfd_send_signal", older_kernel)
    await launcher.start([RunPlan(run_id=RUN, command=shell("sleep 600 & echo up; sleep 600"))])
    await until_output(launcher, b"up")
    await launcher.stop(RUN, reason="EarlyStopped", grace_s=60)
    assert (await end_of(launcher)).signal == 15
    await until(lambda: not marked_processes(folder), "all are gone", within_s=15)


async def test_a_run_that_writes_more_than_the_limit_is_stopped(folder: Path) -> None:
    launcher = LocalProcessLauncher(folder, max_output_bytes=1_000_000)
    await launcher.start([RunPlan(run_id=RUN, command=("yes",))])

    async def is_over() -> bool:
        return (await status_of(launcher)).state is RunState.FINISHED

    await until(is_over, "it is stopped", within_s=WAIT_S)
    status = await status_of(launcher)
    assert (status.signal, status.stop_reason) == (15, "OutputLimit")
    assert status.output_bytes > 1_000_000
    await launcher.close()


# What reaches the command -------------------------------------------------------------------------

HOSTILE = [
    "", " ", "\n", "a\nb\n\n", "\t", "'", '"', "'; touch canary; '", '"; touch canary; "',
    "$(touch canary)", "`touch canary`", "${HOME}", "$HOME", "$0", "$@", "$1", "\\", "\\n", "\\$x",
    "--", "-", "-c", "-rf", "--opt=value", "-e", "&& touch canary", "| touch canary", "> canary",
    "; touch canary", "< /etc/passwd", "*", "?", "[a-z]", "~", "~root", "!", "!!", "#", "# x",
    "%s%n", "{a,b}", "{{ x }}", "${trialParameters.x}", "a=b", "=", "ü", "日本語", "\U0001f600",
    "\u202e", "\x01\x7f\x1b[31m", "\udcff\udc80", "x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("shell_path", SHELLS)
async def test_hostile_words_arrive_byte_for_byte(
    folder: Path, tmp_path: Path, shell_path: str
) -> None:
    launcher = LocalProcessLauncher(folder, shell=shell_path)
    code = """
        import json, os, sys
        print(json.dumps({
            "argv": [os.fsencode(word).hex() for word in sys.argv[1:]],
            "env": {os.fsencode(k).hex(): os.fsencode(v).hex() for k, v in os.environ.items()},
            "folder": os.getcwd(),
        }))
    """
    names = {f"P{number}": word for number, word in enumerate(HOSTILE)}
    odd = {"lr.decay": "$(touch canary)", "a-b": "x\ny", "BASH_FUNC_echo%%": "() { touch canary; }"}
    for run_id, env in (("0b1e.1.1", names), ("0b1e.2.1", {**names, **odd})):
        plan = RunPlan(
            run_id=run_id, command=python(code, *HOSTILE), env=env, working_dir=str(tmp_path)
        )
        status, output = await run(launcher, plan)
        assert status.exit_code == 0, output
        seen = json.loads(output)
        assert seen["argv"] == [os.fsencode(word).hex() for word in HOSTILE]
        expected = {os.fsencode(k).hex(): os.fsencode(v).hex() for k, v in env.items()}
        assert {name: seen["env"].get(name) for name in expected} == expected
        assert seen["folder"] == str(tmp_path)
    assert "canary" not in names_in(tmp_path)
    await launcher.close()


@pytest.mark.parametrize("shell_path", SHELLS)
@pytest.mark.parametrize("name", ["exit", "-a", "echo", "a b", "$(x)", "é", "a;b", "--"])
async def test_the_program_itself_may_have_any_name(
    folder: Path, tmp_path: Path, shell_path: str, name: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / name).write_text("#!/bin/sh\necho mine $#\n")
    (programs / name).chmod(0o755)
    launcher = LocalProcessLauncher(folder, shell=shell_path)
    path = f"{programs}:{os.environ['PATH']}"
    plan = RunPlan(run_id=RUN, command=(name, "foo"), env={"PATH": path})
    status, output = await run(launcher, plan)
    assert (status.exit_code, output) == (0, b"mine 1\n")
    await launcher.close()


async def test_the_environment_is_the_users_without_our_settings(folder: Path) -> None:
    launcher = LocalProcessLauncher(
        folder,
        base_env={
            "HOME": "/home/me",
            "VIRTUAL_ENV": "/venv",
            "TRIALBUS_NATS_PASSWORD": "secret",
            "CUDA_VISIBLE_DEVICES": "1",
        },
    )
    plan = RunPlan(run_id=RUN, command=("env",), env={"LR": "0.1", "CUDA_VISIBLE_DEVICES": "0"})
    _, output = await run(launcher, plan)
    seen = dict(line.split("=", 1) for line in output.decode().splitlines())
    for changed_by_the_shell in ("PWD", "OLDPWD", "SHLVL", "_"):
        seen.pop(changed_by_the_shell, None)
    assert seen == {
        "HOME": "/home/me",
        "VIRTUAL_ENV": "/venv",
        "CUDA_VISIBLE_DEVICES": "0",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONUNBUFFERED": "1",
        "LR": "0.1",
        "TRIALBUS_RUN_ID": RUN,
        "TRIALBUS_RUN_FOLDER": str(folder / RUN),
    }
    await launcher.close()


async def test_a_run_has_its_own_session_default_signals_and_no_descriptor_of_ours(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    code = """
        import json, os
        status = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
        paths = {n: "/proc/self/fd/" + n for n in os.listdir("/proc/self/fd")}
        links = {n: os.readlink(path) for n, path in paths.items() if os.path.lexists(path)}
        print(json.dumps({"fds": links, "blocked": int(status["SigBlk"], 16),
            "ignored": int(status["SigIgn"], 16), "sid": os.getsid(0), "parent": os.getppid()}))
    """
    starter = launcher_process(
        folder,
        f"""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
        others = [RunPlan(run_id="0b1e.%d.1" % i, command=("sleep", "600")) for i in range(5, 10)]
        command = {("env", "-u", "PYTHONPATH", *python(code))!r}
        await launcher.start([*others, RunPlan(run_id={RUN!r}, command=command)])
        while {RUN!r} not in await launcher.ended(timeout_s=30):
            pass
        """,
    )
    assert starter.wait(WAIT_S) == 0
    seen = json.loads(await output_of(launcher))
    own = str(folder / RUN)
    assert seen["fds"] == {
        "0": "/dev/null",
        "1": f"{own}/{OUTPUT}",
        "2": f"{own}/{OUTPUT}",
        "9": f"{own}/{CLAIM}",
    }
    assert seen["sid"] == seen["parent"]
    assert seen["blocked"] == 0
    ignored = {number for number in signal.valid_signals() if seen["ignored"] >> number - 1 & 1}
    assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ}, "only what Python itself ignores"
    for number in range(5, 10):
        await launcher.stop(f"0b1e.{number}.1", reason="end of test", grace_s=0)


@pytest.mark.parametrize(
    ("command", "working_dir", "exit_code", "message"),
    [
        (("no-such-program", "x"), None, 127, "command not found: 'no-such-program'"),
        (("./no/such",), None, 127, "command not found: './no/such'"),
        (("/etc/passwd",), None, 126, "not executable: '/etc/passwd'"),
        (("/etc",), None, 126, "not executable: '/etc'"),
        ((), None, 127, "the command is empty"),
        (("",), None, 127, "the command is empty"),
        (("true",), "/no/such/folder", 126, "working folder not found: '/no/such/folder'"),
        (("true", "a\0b"), None, 126, "the command contains a NUL character"),
        (("true", "x" * 3_000_000), None, 126, "Argument list too long"),
        (("true", "\ud800"), None, 126, "surrogates not allowed"),
    ],
)
async def test_a_command_that_cannot_start_says_why(
    launcher: LocalProcessLauncher,
    command: tuple[str, ...],
    working_dir: str | None,
    exit_code: int,
    message: str,
) -> None:
    plan = RunPlan(run_id=RUN, command=command, working_dir=working_dir)
    status, _ = await run(launcher, plan)
    assert (status.state, status.exit_code) == (RunState.FINISHED, exit_code)
    assert message in status.message
    assert status.finished_at is not None


@pytest.mark.parametrize("shell_path", SHELLS)
async def test_a_script_whose_interpreter_is_missing_says_so(
    folder: Path, tmp_path: Path, shell_path: str
) -> None:
    script = tmp_path / "train.py"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)
    launcher = LocalProcessLauncher(folder, shell=shell_path)
    status, _ = await run(launcher, RunPlan(run_id=RUN, command=(str(script),)))
    assert status.exit_code in (126, 127)
    assert str(script) in status.message
    await launcher.close()


@pytest.mark.parametrize("shell_path", SHELLS)
@pytest.mark.parametrize(
    ("code", "expected"), [("kill -9 $$", (None, 9)), ("exit 137", (137, None))]
)
async def test_every_shell_tells_a_signal_from_an_exit_code(
    folder: Path, shell_path: str, code: str, expected: tuple[int | None, int | None]
) -> None:
    launcher = LocalProcessLauncher(folder, shell=shell_path)
    status, output = await run(launcher, RunPlan(run_id=RUN, command=shell(code)))
    assert ((status.exit_code, status.signal), output) == (expected, b"")
    await launcher.close()


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../x", "a/b", "/etc/x", ".hidden", "a\0b", "a\n", "ü", "x" * 201]
)
async def test_a_run_id_that_is_no_plain_name_touches_nothing(
    folder: Path, launcher: LocalProcessLauncher, run_id: str
) -> None:
    with pytest.raises(Poison):
        await launcher.start([RunPlan(run_id=run_id, command=("true",))])
    for call in (launcher.status([run_id]), launcher.read(run_id, 0, 1), launcher.forget([run_id])):
        with pytest.raises(Poison):
            await call
    assert names_in(folder) == []


async def test_output_that_is_replaced_by_a_link_is_not_followed(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    await run(launcher, RunPlan(run_id=RUN, command=("true",)))
    (folder / RUN / OUTPUT).unlink()
    (folder / RUN / OUTPUT).symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        await launcher.read(RUN, 0, 100)


async def test_folders_are_for_the_owner_only(folder: Path, launcher: LocalProcessLauncher) -> None:
    await run(launcher, RunPlan(run_id=RUN, command=("true",)))
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / RUN)] == [0o700, 0o700]
    assert (folder / RUN / OUTPUT).stat().st_mode & 0o777 == 0o600


# Resources ----------------------------------------------------------------------------------------


async def test_a_line_of_a_hundred_megabytes_is_read_in_parts(
    launcher: LocalProcessLauncher,
) -> None:
    command = shell("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo loss=1")
    status, head = await run(launcher, RunPlan(run_id=RUN, command=command))
    assert (status.exit_code, status.output_bytes) == (0, 100_000_008)
    assert head == b"x" * 1024 * 1024
    assert await launcher.read(RUN, 99_999_999, 1000) == b"x\nloss=1\n"


def children_that_ended() -> set[str]:
    """Zombies of this process (earlier tests left some, of launchers that were closed early)."""
    return {
        stat.parent.name
        for stat in Path("/proc").glob("[0-9]*/stat")
        if stat.read_text().rpartition(")")[2].split()[:2] == ["Z", str(os.getpid())]
    }


async def test_five_hundred_runs_leave_no_descriptor_no_zombie_and_no_timer(
    folder: Path, launcher: LocalProcessLauncher
) -> None:
    await run(launcher, RunPlan(run_id=RUN, command=("true",)))
    before = names_in(Path("/proc/self/fd"))
    zombies = children_that_ended()
    waiting = {f"0b1e.{number}.1" for number in range(1, 501)}
    queue = sorted(waiting)
    for first in range(0, len(queue), 50):
        part = queue[first : first + 50]
        await launcher.start([RunPlan(run_id=r, command=("true",), deadline_s=600) for r in part])
        while waiting & set(part):
            waiting -= set(await launcher.ended(timeout_s=WAIT_S))
    assert names_in(Path("/proc/self/fd")) == before
    assert children_that_ended() == zombies
    await launcher.forget(queue)
    assert names_in(folder) == [RUN]


async def test_the_end_of_a_run_is_known_within_milliseconds(
    launcher: LocalProcessLauncher,
) -> None:
    delays = []
    for number in range(20):
        run_id = f"0b1e.{number}.1"
        await launcher.start([RunPlan(run_id=run_id, command=shell("date +%s.%N"))])
        await end_of(launcher, run_id)
        delays.append(time.time() - float(await output_of(launcher, run_id)))
    assert sorted(delays)[10] < 0.05


async def test_what_crashed_launchers_left_half_made_is_removed(folder: Path) -> None:
    for name in (".new-0b1e.1.1-aa", ".new-0b1e.2.1-bb", ".old-0b1e.3.1-cc"):
        (folder / name).mkdir(parents=True)
    os.utime(folder / ".new-0b1e.1.1-aa", (0, 0))
    await LocalProcessLauncher(folder).close()
    assert names_in(folder) == [".new-0b1e.2.1-bb"]


async def test_a_sweep_ends_marked_processes_and_nothing_else(tmp_path: Path) -> None:
    mark = f"{spawn.FOLDER_VARIABLE}={tmp_path}/x"
    env = {**os.environ, spawn.FOLDER_VARIABLE: f"{tmp_path}/x"}
    longer = {**os.environ, spawn.FOLDER_VARIABLE: f"{tmp_path}/xy"}
    marked = sleeper(env)
    other = sleeper(longer)
    try:
        await asyncio.to_thread(processes.kill_marked, {mark.encode()})
        assert marked.wait(WAIT_S) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (marked, other):
            process.kill()
            process.wait()
