"""The launcher of local processes: all it knows is in the runs' folders and in the kernel."""

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from trialbus.kernel.errors import InvariantBroken, Refused, Transient
from trialbus.kernel.errors import Problem as InputProblem
from trialbus.kernel.images import NO_IMAGES, LocalImages
from trialbus.kernel.limits import (
    KILL_GRACE_S,
    MAX_MESSAGE_CHARS,
    MAX_OUTPUT_BYTES,
    ORPHAN_KILL_DEADLINE_S,
)
from trialbus.ports.launcher import Plan, PrivateFile, RunPlan, RunStatus
from trialbus_trial_launcher.adapters.local_process import checkpoints, missing, processes, spawn
from trialbus_trial_launcher.adapters.local_process.folders import (
    OpenClaim,
    RunFolders,
    Sight,
    boot_id,
)
from trialbus_trial_launcher.adapters.local_process.journal import (
    Claim,
    Ending,
    Stop,
    ending_line,
    note_line,
    stop_line,
)
from trialbus_trial_launcher.adapters.local_process.reports import status_of
from trialbus_trial_launcher.adapters.local_process.run_files import RunFiles
from trialbus_trial_launcher.adapters.local_process.sweeper import Sweeper
from trialbus_trial_launcher.adapters.local_process.watches import Watch, Watches
from trialbus_trial_launcher.app.hand import LaunchObserver, NobodyObserves

DEADLINE_EXCEEDED = "DeadlineExceeded"
OUTPUT_LIMIT = "OutputLimit"
# Starting blocks the loop for about a millisecond each; others get their turn in between.
_STARTS_AT_ONCE = 8
_LOOKS_AT_ONCE = 64
# How soon to look again at a run in a state that lasts for moments: claimed but not yet spawned,
# or without its wrapper while the kernel takes the rest of it away.
_LOOK_AGAIN_AFTER_S = 0.02
# A process of the run that no sweep can reach is waited for, not hunted.
_LOOK_AGAIN_AT_LAST_S = 1.0
# The machine is out of something that comes back; nothing of the run has been executed.
_FOR_NOW = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}
)


class LocalProcessLauncher:
    """Implements the port Launcher below one folder. Several launchers may share the folder.

    shell: any POSIX sh. base_env: what trials inherit (default: this process's environment).
    images: what stands for container images, to say what is missing.
    observer: hears of launches."""

    def __init__(
        self,
        folder: Path,
        *,
        base_env: Mapping[str, str] | None = None,
        shell: str = "/bin/sh",
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        images: LocalImages = NO_IMAGES,
        observer: LaunchObserver | None = None,
    ) -> None:
        self._images = images
        self._observer = observer or NobodyObserves()
        self._folders = RunFolders(folder)
        self._files = RunFiles(self._folders)
        self._env = spawn.base_environment(os.environ if base_env is None else base_env)
        self._shell = shell
        self._max_output_bytes = max_output_bytes
        self._boot_id = boot_id()
        self._null = spawn.open_null()
        self._watches = Watches(on_end=self._settle, on_kill=self._sweep_up)
        self._sweeper = Sweeper()
        # Runs whose wrapper is gone or not yet known, with the timer that looks at them again.
        self._unsettled: dict[str, asyncio.TimerHandle] = {}
        self._ended: list[str] = []
        self._news = asyncio.Event()

    # The port ----------------------------------------------------------------------------------

    async def start(self, plans: Sequence[Plan]) -> None:
        for number, plan in enumerate(plans):
            if not isinstance(plan, RunPlan):
                raise InvariantBroken(f"{plan.run_id} is an object of a cluster")
            if number and number % _STARTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                self._start(plan)
            except OSError as error:
                self._observer.failed(plan.run_id, "machine")
                raise Transient(f"cannot start runs here now: {error}") from error

    async def take_over(self, plans: Sequence[Plan]) -> None:
        """Runs are found by their folders."""

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        found = {}
        for number, run_id in enumerate(run_ids):
            if number and number % _LOOKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            sight = self._folders.look(run_id)
            if sight is not None:
                self._attend(run_id, sight)
            found[run_id] = status_of(run_id, sight, self._folders)
        return found

    async def stop(self, run_id: str, *, reason: str, grace_s: float) -> None:
        self._stop(run_id, reason, grace_s)

    async def ended(self, *, timeout_s: float) -> Sequence[str]:
        self._watches.listen()
        if not self._ended:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        ended, self._ended = self._ended, []
        return ended

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        return self._folders.read_output(run_id, from_byte, max_bytes)

    async def tail(self, run_id: str, max_bytes: int) -> bytes:
        sight = self._folders.look(run_id)
        start = 0 if sight is None else max(0, sight.output_bytes - max_bytes)
        return self._folders.read_output(run_id, start, max_bytes)

    async def address(self, run_id: str) -> str:  # noqa: ARG002
        return "127.0.0.1"

    async def private_files(self, run_id: str, folder: str) -> Sequence[PrivateFile]:
        return self._files.private_files(run_id, folder)

    async def read_private(self, run_id: str, path: str, from_byte: int, max_bytes: int) -> bytes:
        return self._files.read_private(run_id, path, from_byte, max_bytes)

    async def read_kept(self, run_id: str, name: str, from_byte: int, max_bytes: int) -> bytes:
        return self._files.read_kept(run_id, name, from_byte, max_bytes)

    async def keep(self, run_id: str, name: str, at_byte: int, data: bytes) -> bool:
        return self._files.keep(run_id, name, at_byte, data)

    async def forget(self, run_ids: Sequence[str]) -> None:
        """Raises Refused, naming the runs that live, after it has removed all others."""
        live, left_over, removed = [], set(), []
        for run_id in run_ids:
            sight = self._folders.look(run_id)
            if sight is not None and sight.running:
                live.append(InputProblem(field=run_id, message="is running: stop it first"))
                continue
            if sight is not None and sight.locked:
                left_over.add(self._mark(run_id))
            if (path := self._folders.withdraw(run_id)) is not None:
                removed.append(path)
        if left_over:
            await asyncio.to_thread(processes.kill_marked, left_over)
        if removed:
            await asyncio.to_thread(self._folders.delete, removed)
        if live:
            raise Refused(live)

    async def forget_checkpoints(self, folder: str) -> None:
        await asyncio.to_thread(checkpoints.remove, folder)

    async def names_in(self, folder: str) -> Sequence[str]:
        return await asyncio.to_thread(checkpoints.names_in, folder)

    async def drop_empty(self, folders: Sequence[str]) -> None:
        await asyncio.to_thread(checkpoints.drop_empty, folders)

    async def tidy(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self._folders.tidy, list(run_ids))

    async def close(self) -> None:
        self._watches.close()
        for timer in self._unsettled.values():
            timer.cancel()
        self._unsettled.clear()
        await self._sweeper.close()
        os.close(self._null)

    # Starting ----------------------------------------------------------------------------------

    def _start(self, plan: RunPlan) -> None:
        if self._folders.exists(plan.run_id):
            return
        env = {
            **self._env,
            **plan.env,
            spawn.RUN_ID_VARIABLE: plan.run_id,
            spawn.FOLDER_VARIABLE: self._folders.path(plan.run_id),
        }
        env["PATH"] = ":".join((*plan.search_path, env["PATH"]))
        checkpoints.make(plan.checkpoint, plan.artifacts)
        problem = missing.problem_of(plan, env["PATH"], self._images)
        claim = self._folders.claim(
            self._new_claim(plan.run_id, plan.deadline_s),
            *_problem_lines(problem),
            files=plan.files,
            folders=plan.folders,
        )
        if claim is None:  # another was faster
            return
        try:
            if problem is None:
                self._spawn(plan, env, claim)
            else:
                self._observer.failed(plan.run_id, "command")
                self._report(plan.run_id)
        finally:
            claim.close()

    def _spawn(self, plan: RunPlan, env: Mapping[str, str], claim: OpenClaim) -> None:
        try:
            pid = spawn.spawn(
                checkpoints.words(plan.checkpoint, plan.command),
                env,
                plan.working_dir,
                claim,
                shell=self._shell,
                null=self._null,
            )
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _FOR_NOW:
                self._give_back(plan.run_id)
                raise
            problem = missing.Problem(exit_code=missing.NOT_EXECUTABLE, message=str(error))
            self._folders.append(plan.run_id, b"".join(_problem_lines(problem)))
            self._observer.failed(plan.run_id, "command")
            self._report(plan.run_id)
            return
        self._observer.launched(plan.run_id)
        self._watch(plan.run_id, pid, os.pidfd_open(pid), plan.deadline_s)

    def _give_back(self, run_id: str) -> None:
        """Nothing was executed, so the claim may go and the run be started later, unless somebody
        wants it stopped: then the claim stays, and with it the stop."""
        sight = self._folders.look(run_id)
        if sight is not None and sight.journal.stop is None:
            withdrawn = self._folders.withdraw(run_id)
            self._folders.delete([withdrawn] if withdrawn else [])

    def _new_claim(self, run_id: str, deadline_s: float | None) -> Claim:
        return Claim(
            run_id=run_id,
            started_at=round(time.time(), 3),
            monotonic_at=time.monotonic(),
            boot_id=self._boot_id,
            launcher_pid=os.getpid(),
            deadline_s=deadline_s,
        )

    # Watching ----------------------------------------------------------------------------------

    def _attend(self, run_id: str, sight: Sight) -> None:
        """What a look at a run asks for: adoption, the output limit, tidying up after its end."""
        if run_id not in self._watches and run_id not in self._unsettled:
            if sight.running:
                self._adopt(run_id, sight)
            elif sight.locked or _is_killed(sight):
                # Ended, but by a launcher that did not live to tidy up.
                self._settle(run_id)
        if sight.running and sight.output_bytes > self._max_output_bytes:
            self._stop(run_id, OUTPUT_LIMIT, KILL_GRACE_S)

    def _adopt(self, run_id: str, sight: Sight) -> None:
        """Takes over a run that another launcher started, with its deadline and its stop."""
        journal = sight.journal
        if journal.pid is None:  # claimed, not yet spawned or about to say its pid
            self._look_again(run_id, self._adopt_later)
            return
        pidfd = processes.open_marked(journal.pid, self._mark(run_id))
        if pidfd is None:  # the wrapper has just ended, or was killed
            self._settle(run_id)
            return
        remaining_s = None
        if journal.claim is not None and journal.claim.deadline_s is not None:
            age_s = time.monotonic() - journal.claim.monotonic_at
            remaining_s = max(0.0, journal.claim.deadline_s - age_s)
        watch = self._watch(run_id, journal.pid, pidfd, remaining_s)
        if journal.stop is not None:
            since_s = time.monotonic() - journal.stop.monotonic_at
            self._watches.terminate(watch, max(0.0, journal.stop.grace_s - since_s))

    def _adopt_later(self, run_id: str) -> None:
        self._cancel_look(run_id)
        sight = self._folders.look(run_id)
        if sight is not None and sight.running:
            self._adopt(run_id, sight)
        else:
            self._settle(run_id)

    def _watch(self, run_id: str, pid: int, pidfd: int, deadline_s: float | None) -> Watch:
        watch = self._watches.add(run_id, pid, pidfd)
        if deadline_s is not None:
            watch.deadline = asyncio.get_running_loop().call_later(
                deadline_s, self._stop, run_id, DEADLINE_EXCEEDED, KILL_GRACE_S
            )
        return watch

    def _settle(self, run_id: str, look_after_s: float = _LOOK_AGAIN_AFTER_S) -> None:
        """The wrapper is gone: see that the rest goes too, then report the end."""
        self._cancel_look(run_id)
        sight = self._folders.look(run_id)
        if sight is None:
            return
        if sight.locked or sight.journal.stop is not None:
            self._sweep_up(run_id)  # what left the process group
        if sight.running:
            longer_s = min(2 * look_after_s, _LOOK_AGAIN_AT_LAST_S)
            self._look_again(run_id, partial(self._settle, look_after_s=longer_s), look_after_s)
            return
        if _is_killed(sight):
            self._folders.append(run_id, ending_line(Ending(signal=signal.SIGKILL)))
        self._report(run_id)
        if sight.locked:
            give_up_at = time.monotonic() + ORPHAN_KILL_DEADLINE_S
            self._look_again(run_id, partial(self._end_left_over, give_up_at=give_up_at))

    def _end_left_over(self, run_id: str, give_up_at: float) -> None:
        """Sweeps until nothing of an ended run holds its lock: one scan may miss a process that
        forks and ends all the time."""
        self._cancel_look(run_id)
        sight = self._folders.look(run_id)
        if sight is not None and sight.locked and time.monotonic() < give_up_at:
            self._sweep_up(run_id)
            self._look_again(run_id, partial(self._end_left_over, give_up_at=give_up_at))

    def _look_again(
        self, run_id: str, action: Callable[[str], None], after_s: float = _LOOK_AGAIN_AFTER_S
    ) -> None:
        self._unsettled[run_id] = asyncio.get_running_loop().call_later(after_s, action, run_id)

    def _cancel_look(self, run_id: str) -> None:
        timer = self._unsettled.pop(run_id, None)
        if timer is not None:
            timer.cancel()

    def _report(self, run_id: str) -> None:
        self._ended.append(run_id)
        self._news.set()

    # Stopping ----------------------------------------------------------------------------------

    def _stop(self, run_id: str, reason: str, grace_s: float) -> None:
        stop = Stop(reason=reason, monotonic_at=time.monotonic(), grace_s=grace_s)
        if not self._folders.exists(run_id):
            tombstone = self._folders.claim(
                self._new_claim(run_id, None), stop_line(stop), ending_line(Ending())
            )
            if tombstone is not None:
                tombstone.close()
                return
        sight = self._folders.look(run_id)
        if sight is None or not sight.running:
            return
        if sight.journal.stop is None:
            self._folders.append(run_id, stop_line(stop))
        watch = self._watches.get(run_id)
        if watch is not None:
            self._watches.terminate(watch, grace_s)
        else:  # adoption finds the stop in the journal, now or as soon as there is a process
            self._adopt_later(run_id)

    # Small things ------------------------------------------------------------------------------

    def _sweep_up(self, run_id: str) -> None:
        """Kills every process that carries the run's mark, also outside its process group."""
        self._sweeper.ask(self._mark(run_id))

    def _mark(self, run_id: str) -> bytes:
        return os.fsencode(f"{spawn.FOLDER_VARIABLE}={self._folders.path(run_id)}")


def _is_killed(sight: Sight) -> bool:
    """We stopped it, it is gone, and SIGKILL took the wrapper before it could say how."""
    return not sight.locked and sight.journal.ending is None and sight.journal.stop is not None


def _problem_lines(problem: missing.Problem | None) -> list[bytes]:
    if problem is None:
        return []
    message = problem.message[:MAX_MESSAGE_CHARS]
    return [note_line(message), ending_line(Ending(exit_code=problem.exit_code))]
