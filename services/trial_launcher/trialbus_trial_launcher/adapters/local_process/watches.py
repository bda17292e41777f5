"""The wrappers that live, as far as we know, each with its pidfd and its timers."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from trialbus_trial_launcher.adapters.local_process import processes


@dataclass(slots=True, kw_only=True)
class Watch:
    """One wrapper: the leader of its run's process group."""

    run_id: str
    pid: int
    pidfd: int
    deadline: asyncio.TimerHandle | None = None
    kill: asyncio.TimerHandle | None = None


class Watches:
    """Tells of the end of each wrapper by `on_end(run_id)`, after its group has been killed.
    `on_kill(run_id)` follows a SIGKILL at the end of a grace."""

    def __init__(self, *, on_end: Callable[[str], None], on_kill: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._on_kill = on_kill
        self._ends = processes.EndWatch()
        self._by_run: dict[str, Watch] = {}
        self._by_pidfd: dict[int, Watch] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self) -> None:
        """From now on ends are noticed, by the running loop."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._ends.fileno(), self._on_ends)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._by_run

    def get(self, run_id: str) -> Watch | None:
        return self._by_run.get(run_id)

    def add(self, run_id: str, pid: int, pidfd: int) -> Watch:
        """Takes over the pidfd."""
        self.listen()
        watch = Watch(run_id=run_id, pid=pid, pidfd=pidfd)
        self._by_run[run_id] = self._by_pidfd[pidfd] = watch
        self._ends.add(pidfd)
        return watch

    def terminate(self, watch: Watch, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after the grace. A repeat sends no second SIGTERM, but a shorter
        grace counts."""
        loop = asyncio.get_running_loop()
        if watch.kill is None:
            processes.signal_group(watch.pidfd, watch.pid, signal.SIGTERM)
        elif watch.kill.when() <= loop.time() + grace_s:
            return
        else:
            watch.kill.cancel()
        watch.kill = loop.call_later(grace_s, self._kill, watch)

    def close(self) -> None:
        for watch in list(self._by_pidfd.values()):
            self._remove(watch)
        if self._loop is not None:
            self._loop.remove_reader(self._ends.fileno())
        self._ends.close()

    def _kill(self, watch: Watch) -> None:
        processes.signal_group(watch.pidfd, watch.pid, signal.SIGKILL)
        self._on_kill(watch.run_id)

    def _on_ends(self) -> None:
        for pidfd in self._ends.ended():
            watch = self._by_pidfd[pidfd]
            # What the command left in its group ends with it, as in a container. Also if the
            # wrapper was killed: the command's result can never be known.
            processes.signal_group(pidfd, watch.pid, signal.SIGKILL)
            processes.reap(pidfd)
            self._remove(watch)
            self._on_end(watch.run_id)

    def _remove(self, watch: Watch) -> None:
        for timer in (watch.deadline, watch.kill):
            if timer is not None:
                timer.cancel()
        self._ends.remove(watch.pidfd)
        del self._by_pidfd[watch.pidfd]
        if self._by_run.get(watch.run_id) is watch:
            del self._by_run[watch.run_id]
        os.close(watch.pidfd)
