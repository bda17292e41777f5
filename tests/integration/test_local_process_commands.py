"""What a local process gets: its words and environment byte for byte, and nothing of ours."""

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trialbus.kernel.errors import Poison
from trialbus.ports.launcher import RunPlan, RunState
from trialbus.testkit.run_probes import (
    WAIT_S,
    launcher_process,
    marked_processes,
    names_in,
    output_of,
    python,
    run,
    shell,
)
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher, spawn
from trialbus_trial_launcher.adapters.local_process.folders import CLAIM, OUTPUT

SHELLS = [
    shell for shell in ("/usr/bin/dash", "/usr/bin/bash", "/bin/busybox") if Path(shell).exists()
]


RUN = "0b1e.0.1"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Whatever a test leaves alive of its runs is killed."""
    folder = tmp_path / "runs"
    yield folder
    for pid in of_runs_in(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
async def launcher(folder: Path) -> AsyncIterator[LocalProcessLauncher]:
    launcher = LocalProcessLauncher(folder)
    yield launcher
    await launcher.close()


def of_runs_in(folder: Path) -> list[int]:
    """The pid of every process of any run below the folder."""
    return marked_processes(f"{spawn.FOLDER_VARIABLE}={folder}/")


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
    if name == "echo" and "busybox" in shell_path:
        pytest.skip("a standalone busybox prefers its own applets to programs on PATH")
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
    seen = json.loads(await output_of(launcher, RUN))
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


# What lies beside the command ---------------------------------------------------------------------


async def test_files_of_the_plan_lie_in_the_run_folder_before_it_starts(
    launcher: LocalProcessLauncher,
) -> None:
    plan = RunPlan(
        run_id=RUN,
        command=("/bin/sh", "-c", 'cat "$TRIALBUS_RUN_FOLDER/parameters.json"'),
        files={"parameters.json": '{"x": "0.5"}'},
    )
    await run(launcher, plan)
    assert await output_of(launcher, RUN) == b'{"x": "0.5"}'


@pytest.mark.parametrize("name", ["../out.json", "claim", "output.log", "/etc/x.json", ".x", ""])
async def test_a_file_with_a_name_of_ours_or_a_path_is_refused(
    launcher: LocalProcessLauncher, name: str
) -> None:
    plan = RunPlan(run_id=RUN, command=("/bin/true",), files={name: ""})
    with pytest.raises(Poison):
        await launcher.start([plan])
