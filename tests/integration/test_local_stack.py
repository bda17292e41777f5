"""A whole stack with tiny services: kept alive, told in stack.json, gone without a trace."""

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from trialbus.cli import starting
from trialbus.local import stack_file
from trialbus.local.service_process import MAX_LOG_BYTES
from trialbus.local.stack_file import ProcessStatus, StackStatus
from trialbus.testkit.programs import SUPERVISOR, program_environ
from trialbus.testkit.waits import until_sync

pytestmark = pytest.mark.servers

SERVICES = """
import asyncio
from trialbus.runtime.parts import Behaviour, ServiceDefinition

async def build(parts):
    return Behaviour()

async def build_one_that_ends(parts):
    async def end():
        raise RuntimeError("it has had enough")
    return Behaviour(tasks=(end,))

calm = ServiceDefinition(name="calm", owns=(), build=build)
busy = ServiceDefinition(name="busy", owns=(), build=build)
weary = ServiceDefinition(name="weary", owns=(), build=build_one_that_ends)
"""
# Loaded by the fork server, which then gets no process at its first tries.
NO_PROCESSES = """
import errno, os
fork, refused = os.fork, []

def fork_at_last():
    if len(refused) < 3:
        refused.append(1)
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
    return fork()

os.fork = fork_at_last
"""
STARTS_WITHIN_S = 60.0


class Supervised:
    """One supervisor of a test, with its data folder."""

    def __init__(
        self,
        folder: Path,
        *services: str,
        owned: bool = True,
        more_code: str = "",
        log: IO[str] | int = subprocess.PIPE,
    ) -> None:
        code = folder / "code"
        code.mkdir(parents=True, exist_ok=True)
        (code / "tiny_services.py").write_text(SERVICES + more_code)
        entries = {name: f"tiny_services:{name}" for name in ("calm", "busy", "weary")}
        self.data = folder / "data"
        chosen = [argument for name in services for argument in ("--service", name)]
        self.process: subprocess.Popen[Any] = subprocess.Popen(
            [*SUPERVISOR, "--data-dir", str(self.data), *(["--owned"] if owned else []), *chosen],
            env=program_environ(code, services=entries),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        self.seen: set[int] = set()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    @property
    def status(self) -> StackStatus | None:
        found = stack_file.read_running(self.data)
        if found is not None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.seen |= {child.pid for child in children}
        return found

    def until_ready(self) -> StackStatus:
        def ready() -> bool:
            status = self.status
            return status is not None and status.ready

        until_sync(ready, "all services are ready", within_s=STARTS_WITHIN_S)
        status = self.status
        assert status is not None
        return status

    def service(self, name: str) -> ProcessStatus:
        status = self.status
        assert status is not None
        return status.services[name]

    def until_nothing_is_left(self) -> None:
        until_sync(
            lambda: not [pid for pid in self.seen if _lives(pid)],
            "every process of the stack has ended",
            within_s=30,
        )

    def end(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Supervised]:
    """Ready, with two services that do nothing."""
    supervised = Supervised(tmp_path, "calm", "busy")
    try:
        supervised.until_ready()
        yield supervised
    finally:
        supervised.end()


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_file_tells_addresses_states_and_pids(stack: Supervised) -> None:
    status = stack.until_ready()
    assert status.pid == stack.process.pid
    assert status.nats.startswith("nats://127.0.0.1:")
    assert status.mongo.startswith("mongodb://127.0.0.1:")
    assert set(status.services) == {"calm", "busy"}
    assert {each.state for each in status.servers.values()} == {"ready"}
    for each in status.services.values():
        assert each.pid is not None
        assert _lives(each.pid)
        assert _get(f"{each.health}/healthz") == _get(f"{each.health}/readyz") == 200
        assert _get(f"{each.health}/metrics") == 200
    ended = [json.loads(line)["event"] for line in _log(stack, "calm")]
    assert "ready" in ended


def _log(stack: Supervised, service: str) -> list[str]:
    return (stack.data / f"logs/{service}.log").read_text().splitlines()


def test_a_killed_service_is_started_again(stack: Supervised) -> None:
    before = stack.until_ready()
    pid = before.services["calm"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until_sync(
        lambda: stack.service("calm").restarts == 1 and stack.service("calm").state == "ready",
        "it is back",
        within_s=STARTS_WITHIN_S,
    )
    after = stack.service("calm")
    assert after.pid not in (None, pid)
    assert after.health == before.services["calm"].health
    assert stack.service("busy") == before.services["busy"]


@pytest.mark.parametrize("server", ["nats-server", "mongod"])
def test_a_killed_server_is_started_again_on_its_port(stack: Supervised, server: str) -> None:
    before = stack.until_ready()
    pid = before.servers[server].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = stack.status
        return now is not None and now.ready and now.servers[server].restarts == 1

    until_sync(back, "it is back, and the services with it", within_s=STARTS_WITHIN_S)
    after = stack.until_ready()
    assert (after.nats, after.mongo) == (before.nats, before.mongo)
    pids = {name: each.pid for name, each in before.services.items()}
    assert {name: each.pid for name, each in after.services.items()} == pids


def test_the_fork_server_is_replaced_and_the_services_with_it(stack: Supervised) -> None:
    before = stack.until_ready()
    pid = before.services["calm"].pid
    assert pid is not None
    fork_server = psutil.Process(pid).ppid()
    assert fork_server != stack.process.pid
    os.kill(fork_server, signal.SIGKILL)
    until_sync(
        lambda: all(stack.service(name).restarts >= 1 for name in ("calm", "busy")),
        "both were started again",
        within_s=STARTS_WITHIN_S,
    )
    stack.until_ready()
    assert not _lives(pid)


def test_a_service_that_keeps_failing_is_started_again_and_again(tmp_path: Path) -> None:
    stack = Supervised(tmp_path, "weary", "calm")
    try:
        until_sync(
            lambda: stack.status is not None and stack.service("weary").restarts >= 3,
            "it was started three times",
            within_s=STARTS_WITHIN_S,
        )
        assert any("it has had enough" in line for line in _log(stack, "weary"))
        until_sync(lambda: stack.service("calm").state == "ready", "the other one is well")
        assert stack.service("calm").restarts == 0
    finally:
        stack.end()


def test_a_machine_that_gives_no_process_is_asked_again(tmp_path: Path) -> None:
    stack = Supervised(tmp_path, "calm", more_code=NO_PROCESSES)
    try:
        stack.until_ready()
        assert stack.service("calm").restarts == 3
        # Another fork server would have refused three more.
        fork_servers = [
            each
            for each in psutil.Process(stack.process.pid).children()
            if "trialbus.local.fork_server" in each.cmdline()
        ]
        assert len(fork_servers) == 1
        assert psutil.Process(stack.service("calm").pid).ppid() == fork_servers[0].pid
    finally:
        stack.end()


def test_a_full_disk_keeps_no_service_from_being_started_again(tmp_path: Path) -> None:
    # As where nothing can be written: its own log, its file, and the log that is to be moved.
    with Path("/dev/full").open("w") as full:
        stack = Supervised(tmp_path, "calm", "busy", log=full)
    try:
        pid = stack.until_ready().services["calm"].pid
        assert pid is not None
        in_the_way = stack.data / f"{stack_file.FILE}.new"
        in_the_way.mkdir()
        (stack.data / "logs/calm.log.1").mkdir()
        with (stack.data / "logs/calm.log").open("ab") as log:
            log.truncate(MAX_LOG_BYTES + 1)
        os.kill(pid, signal.SIGKILL)
        health = stack.service("calm").health
        until_sync(
            lambda: not _lives(pid) and _answers(f"{health}/readyz"),
            "it is back",
            within_s=STARTS_WITHIN_S,
        )
        assert stack.service("calm").pid == pid  # what was written last
        in_the_way.rmdir()
        until_sync(
            lambda: stack.service("calm").pid != pid and stack.service("calm").state == "ready",
            "the file tells the truth again",
            within_s=STARTS_WITHIN_S,
        )
    finally:
        stack.end()


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return _get(url) == 200
    return False


def test_a_run_that_leaves_a_stack_to_others_does_not_wait_and_does_not_end_it(
    stack: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "STOP_DEADLINE_S", 0.0)
    with stack_file.using(stack.data):
        starting._stop_owned(stack.process, stack.data)
        stack.until_ready()
    assert stack.process.wait(30) == 0


def test_nothing_outlives_a_killed_supervisor(stack: Supervised) -> None:
    stack.until_ready()
    assert len(stack.seen) >= 5  # nats-server, mongod, the fork server, two services
    os.kill(stack.process.pid, signal.SIGKILL)
    stack.process.wait()
    stack.until_nothing_is_left()
    assert (stack.data / stack_file.FILE).exists()
    assert stack_file.read_running(stack.data) is None


def test_what_a_killed_supervisor_left_is_taken_over(stack: Supervised, tmp_path: Path) -> None:
    os.kill(stack.process.pid, signal.SIGKILL)
    stack.process.wait()
    second = Supervised(tmp_path, "calm")
    try:
        assert second.until_ready().pid == second.process.pid
    finally:
        second.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(stack: Supervised, number: signal.Signals) -> None:
    stack.until_ready()
    os.kill(stack.process.pid, number)
    assert stack.process.wait(30) == 0
    stack.until_nothing_is_left()
    assert not (stack.data / stack_file.FILE).exists()
    assert any('"drained"' in line for line in _log(stack, "calm"))


def test_it_ends_with_its_owner(stack: Supervised) -> None:
    stack.until_ready()
    assert stack.process.stdin is not None
    stack.process.stdin.close()
    assert stack.process.wait(30) == 0
    stack.until_nothing_is_left()


def test_it_outlives_its_owner_while_somebody_else_uses_it(stack: Supervised) -> None:
    with stack_file.using(stack.data) as joined:
        assert joined
        assert stack.process.stdin is not None
        stack.process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            stack.process.wait(0.5)
        stack.until_ready()
    assert stack.process.wait(30) == 0


def test_a_second_supervisor_on_the_folder_is_refused(stack: Supervised, tmp_path: Path) -> None:
    second = Supervised(tmp_path, "calm")
    try:
        answer = second.answer()
        assert answer["in_use"] is True
        assert answer["refused"] == [
            f"a stack already runs on {stack.data} (process {stack.process.pid})"
        ]
        assert second.process.wait(30) == 1
    finally:
        second.end()
    stack.until_ready()


def test_two_stacks_share_nothing(stack: Supervised, tmp_path: Path) -> None:
    first = stack.until_ready()
    other = Supervised(tmp_path / "other", "calm")
    try:
        second = other.until_ready()
        assert first.nats != second.nats
        assert first.mongo != second.mongo
        assert first.services["calm"].health != second.services["calm"].health
    finally:
        other.end()
    stack.until_ready()
    other.until_nothing_is_left()


def test_a_stack_that_is_told_to_stay_outlives_its_owner(stack: Supervised) -> None:
    assert stack.until_ready().owned
    os.kill(stack.process.pid, signal.SIGUSR1)
    until_sync(lambda: stack.status is not None and not stack.status.owned, "it is kept")
    assert stack.process.stdin is not None
    starting._stop_owned(stack.process, stack.data)
    with pytest.raises(subprocess.TimeoutExpired):
        stack.process.wait(0.5)
    stack.until_ready()
    os.kill(stack.process.pid, signal.SIGTERM)
    assert stack.process.wait(30) == 0
