"""A place where runs execute in memory, on loop time: the port Launcher for simulations.

The world is apart from its launchers: a launcher may crash, the world and its runs go on. What a
run does is a script; its state at any time is computed from the script, so nothing has to tick.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from trialbus.kernel.errors import InvariantBroken, Problem, Refused, Transient
from trialbus.kernel.ids import parse_run_id
from trialbus.kernel.limits import KILL_GRACE_S
from trialbus.ports.launcher import Plan, PrivateFile, RunPlan, RunState, RunStatus

SIGKILL, SIGTERM = 9, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a run does. output: (seconds after the start, bytes), in order of time. files: what it
    adds to its private files, (seconds after the start, path, bytes). duration_s: None hangs until
    it is stopped. exit_code None with signal None: it leaves no result at its end (lost). message:
    what went wrong before user code ran."""

    output: tuple[tuple[float, bytes], ...] = ()
    files: tuple[tuple[float, str, bytes], ...] = ()
    duration_s: float | None = 0.0
    exit_code: int | None = 0
    signal: int | None = None
    ignores_sigterm: bool = False
    message: str = ""

    @property
    def is_lost(self) -> bool:
        return self.exit_code is None and self.signal is None


HANG = Script(duration_s=None)
LOST = Script(exit_code=None)

Program = Callable[[str, RunPlan], Script]


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    at: float
    exit_code: int | None = None
    signal: int | None = None
    stop_reason: str = ""


@dataclass(slots=True, kw_only=True)
class _Run:
    """started_at None: it was stopped before it started. lost_at: a fault took it then. kept: files
    beside it."""

    plan: RunPlan
    script: Script
    started_at: float | None
    stop: tuple[float, str, float] | None = None
    lost_at: float | None = None
    kept: dict[str, bytes] = field(default_factory=dict)

    def end(self) -> _End | None:
        """When and how it ends, as things stand; None: never."""
        if self.started_at is None:
            return _End(at=0.0, stop_reason=self.stop[1] if self.stop else "")
        stop = self._effective_stop()
        ends = [end for end in (self._natural_end(), self._stopped_end(stop)) if end is not None]
        if self.lost_at is not None:
            ends.append(_End(at=self.lost_at, stop_reason=stop[1] if stop else ""))
        first = min(ends, key=lambda end: end.at, default=None)
        if first is not None and stop is not None and stop[0] <= first.at and not first.stop_reason:
            return _End(
                at=first.at,
                exit_code=first.exit_code,
                signal=first.signal,
                stop_reason=stop[1],
            )
        return first

    def output_at(self, now: float) -> bytes:
        return b"".join(part for after, part in self.script.output if self._did(after, now))

    def private_at(self, now: float) -> dict[str, bytes]:
        """Path -> what is in it."""
        files: dict[str, bytes] = {}
        for after, path, part in self.script.files:
            if self._did(after, now):
                files[path] = files.get(path, b"") + part
        return files

    def _did(self, after_s: float, now: float) -> bool:
        """Whether it has lived so long after its start."""
        if self.started_at is None:
            return False
        end = self.end()
        return self.started_at + after_s <= (now if end is None else min(now, end.at))

    def _natural_end(self) -> _End | None:
        if self.script.duration_s is None or self.started_at is None:
            return None
        return _End(
            at=self.started_at + self.script.duration_s,
            exit_code=self.script.exit_code,
            signal=self.script.signal,
        )

    def _stopped_end(self, stop: tuple[float, str, float] | None) -> _End | None:
        if stop is None:
            return None
        at, reason, grace_s = stop
        if self.script.ignores_sigterm:
            return _End(at=at + grace_s, signal=SIGKILL, stop_reason=reason)
        return _End(at=at, signal=SIGTERM, stop_reason=reason)

    def _effective_stop(self) -> tuple[float, str, float] | None:
        deadline = None
        if self.plan.deadline_s is not None and self.started_at is not None:
            at = self.started_at + self.plan.deadline_s
            natural = self._natural_end()
            if natural is None or at < natural.at:
                deadline = (at, "DeadlineExceeded", KILL_GRACE_S)
        stops = [stop for stop in (self.stop, deadline) if stop is not None]
        return min(stops, default=None)


class MemoryWorld:
    """Where runs live, whatever happens to launchers.

    now: seconds since the epoch (default: the loop's time). starts: executions per run id; more
    than one is a broken law. unable: why nothing can be started now (start raises Transient)."""

    def __init__(self, program: Program, *, now: Callable[[], float] | None = None) -> None:
        self._program = program
        self._now = now
        self._runs: dict[str, _Run] = {}
        self._launchers: list[MemoryLauncher] = []
        self._intervals: dict[str, list[_Run]] = {}
        self.starts: Counter[str] = Counter()
        self.unable = ""

    def launcher(self) -> "MemoryLauncher":
        launcher = MemoryLauncher(self)
        self._launchers.append(launcher)
        return launcher

    def now(self) -> float:
        return asyncio.get_running_loop().time() if self._now is None else self._now()

    def lose(self, run_id: str) -> None:
        """A fault: all its processes die without a result."""
        run = self._runs[run_id]
        if run.lost_at is None:
            run.lost_at = self.now()
        self._announce(run_id)

    def reboot(self) -> None:
        for run_id, run in self._runs.items():
            if self._is_alive(run, self.now()):
                self.lose(run_id)

    def alive(self, group: str) -> int:
        """How many runs of an experiment (its uid) live at this instant."""
        now = self.now()
        return sum(self._is_alive(run, now) for run in self._intervals.get(group, ()))

    def lives(self, group: str) -> list[tuple[float, float | None]]:
        """From when to when each run of an experiment lived; None: it still does."""
        lives = []
        for run in self._intervals.get(group, ()):
            end = run.end()
            if run.started_at is not None and (end is None or end.at > run.started_at):
                lives.append((run.started_at, None if end is None else end.at))
        return lives

    def most_alive(self, group: str) -> int:
        """The largest number of them that ever lived at one instant."""
        return most_at_once(self.lives(group))

    # For launchers -----------------------------------------------------------------------------

    def start(self, plan: RunPlan) -> None:
        if plan.run_id in self._runs:
            return
        if self.unable:
            raise Transient(self.unable)
        run = _Run(plan=plan, script=self._program(plan.run_id, plan), started_at=self.now())
        run.kept = {name: text.encode() for name, text in plan.files.items()}
        self.starts[plan.run_id] += 1
        self._runs[plan.run_id] = run
        self._intervals.setdefault(_group(plan.run_id), []).append(run)
        self._announce(plan.run_id)

    def stop(self, run_id: str, reason: str, grace_s: float) -> None:
        stop = (self.now(), reason, grace_s)
        run = self._runs.get(run_id)
        if run is None:
            plan = RunPlan(run_id=run_id, command=())
            self._runs[run_id] = _Run(plan=plan, script=Script(), started_at=None, stop=stop)
        elif run.stop is None and self._is_alive(run, self.now()):
            run.stop = stop
            self._announce(run_id)

    def status(self, run_id: str) -> RunStatus:
        run = self._runs.get(run_id)
        if run is None:
            return RunStatus(run_id=run_id, state=RunState.ABSENT)
        now, end = self.now(), run.end()
        output_bytes = len(run.output_at(now))
        if end is None or end.at > now:
            return RunStatus(
                run_id=run_id,
                state=RunState.RUNNING,
                started_at=run.started_at,
                stop_reason=run.stop[1] if run.stop else "",
                output_bytes=output_bytes,
            )
        lost = end.exit_code is None and end.signal is None and not end.stop_reason
        killed = end.exit_code is None and end.signal is None and run.started_at is not None
        return RunStatus(
            run_id=run_id,
            state=RunState.LOST if lost else RunState.FINISHED,
            started_at=run.started_at,
            finished_at=None if lost else max(end.at, run.started_at or end.at),
            exit_code=end.exit_code,
            signal=SIGKILL if killed and not lost else end.signal,
            stop_reason=end.stop_reason,
            message="stopped before it started" if run.started_at is None else run.script.message,
            output_bytes=output_bytes,
        )

    def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        run = self._runs.get(run_id)
        output = run.output_at(self.now()) if run else b""
        return output[from_byte : from_byte + max_bytes]

    def private(self, run_id: str) -> dict[str, bytes]:
        run = self._runs.get(run_id)
        return run.private_at(self.now()) if run else {}

    def kept(self, run_id: str) -> dict[str, bytes] | None:
        run = self._runs.get(run_id)
        return run.kept if run else None

    def forget(self, run_ids: Sequence[str]) -> None:
        live = []
        for run_id in run_ids:
            run = self._runs.get(run_id)
            if run is not None and self._is_alive(run, self.now()):
                live.append(Problem(field=run_id, message="is running: stop it first"))
            else:
                self._runs.pop(run_id, None)
        if live:
            raise Refused(live)

    def leave(self, launcher: "MemoryLauncher") -> None:
        if launcher in self._launchers:
            self._launchers.remove(launcher)

    def _is_alive(self, run: _Run, now: float) -> bool:
        end = run.end()
        return run.started_at is not None and (end is None or end.at > now)

    def _announce(self, run_id: str) -> None:
        """Tells the launchers of that time when the run will have ended, as things stand."""
        end = self._runs[run_id].end()
        if end is not None:
            delay_s = max(0.0, end.at - self.now())
            asyncio.get_running_loop().call_later(delay_s, self._tell_end, run_id, end)

    def _tell_end(self, run_id: str, end: _End) -> None:
        run = self._runs.get(run_id)
        if run is not None and run.end() == end:
            for launcher in self._launchers:
                launcher.report(run_id)


class MemoryLauncher:
    """One launcher process over the world. `crash` ends it as kill -9 would: its hints are gone,
    the runs go on."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self._ended: list[str] = []
        self._news = asyncio.Event()

    def report(self, run_id: str) -> None:
        self._ended.append(run_id)
        self._news.set()

    def crash(self) -> None:
        self._world.leave(self)
        self._ended.clear()

    async def start(self, plans: Sequence[Plan]) -> None:
        for plan in plans:
            if not isinstance(plan, RunPlan):
                raise InvariantBroken(f"{plan.run_id} is an object of a cluster")
            self._world.start(plan)
            await asyncio.sleep(0)

    async def take_over(self, plans: Sequence[Plan]) -> None:
        """Runs are found by their ids."""

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        await asyncio.sleep(0)
        return {run_id: self._world.status(run_id) for run_id in run_ids}

    async def stop(self, run_id: str, *, reason: str, grace_s: float) -> None:
        self._world.stop(run_id, reason, grace_s)

    async def ended(self, *, timeout_s: float) -> Sequence[str]:
        if not self._ended:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        ended, self._ended = self._ended, []
        return ended

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        return self._world.read(run_id, from_byte, max_bytes)

    async def tail(self, run_id: str, max_bytes: int) -> bytes:
        start = max(0, self._world.status(run_id).output_bytes - max_bytes)
        return self._world.read(run_id, start, max_bytes)

    async def address(self, run_id: str) -> str:  # noqa: ARG002
        return "127.0.0.1"

    async def private_files(self, run_id: str, folder: str) -> Sequence[PrivateFile]:
        prefix = f"{folder}/" if folder else ""
        return [
            PrivateFile(path=path.removeprefix(prefix), size_bytes=len(data))
            for path, data in sorted(self._world.private(run_id).items())
            if path.startswith(prefix)
        ]

    async def read_private(self, run_id: str, path: str, from_byte: int, max_bytes: int) -> bytes:
        data = self._world.private(run_id).get(path, b"")
        return data[from_byte : from_byte + max_bytes]

    async def read_kept(self, run_id: str, name: str, from_byte: int, max_bytes: int) -> bytes:
        data = (self._world.kept(run_id) or {}).get(name, b"")
        return data[from_byte : from_byte + max_bytes]

    async def keep(self, run_id: str, name: str, at_byte: int, data: bytes) -> bool:
        kept = self._world.kept(run_id)
        if kept is None or len(kept.get(name, b"")) != at_byte:
            return False
        kept[name] = kept.get(name, b"") + data
        return True

    async def forget(self, run_ids: Sequence[str]) -> None:
        self._world.forget(run_ids)

    async def forget_checkpoints(self, folder: str) -> None:
        """What runs here has no files."""

    async def names_in(self, folder: str) -> Sequence[str]:  # noqa: ARG002
        return ()

    async def drop_empty(self, folders: Sequence[str]) -> None:
        """What runs here has no files."""

    async def tidy(self, run_ids: Sequence[str]) -> None:
        """What runs here has no files."""

    async def close(self) -> None:
        self._world.leave(self)


def most_at_once(lives: Iterable[tuple[float, float | None]]) -> int:
    changes = []
    for start, end in lives:
        changes.append((start, 1))
        if end is not None:
            changes.append((end, -1))
    most = alive = 0
    for _, change in sorted(changes):  # an end before a start at the same instant
        alive += change
        most = max(most, alive)
    return most


def _group(run_id: str) -> str:
    """The experiment's uid; the run id itself if it is of no experiment."""
    try:
        return parse_run_id(run_id).uid
    except ValueError:
        return run_id
