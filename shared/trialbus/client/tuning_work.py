"""Workers of `tune`: in this thread, in threads, or in processes of their own."""

import logging
import multiprocessing
import pickle
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from trialbus.client.asked import AskedTrial
from trialbus.client.calling import Objective, caller_of
from trialbus.client.client import Client
from trialbus.client.failures import LeaseLost, NotThere, TuneFailed
from trialbus.client.space import Described, Space

# Short, so that the trial of a process that was killed is soon given to another one.
LEASE_S = 15.0
LOOK_S = 0.1
# A stack that is started again, or moved, is back by then.
TIMEOUT_S = 120.0
# A process that dies takes no trial with it, but one that dies again and again gets nowhere.
MAX_RESTARTS = 10

log = logging.getLogger("trialbus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is told; goes to other processes."""

    objective: Objective
    space: Space
    metric: str
    name: str
    namespace: str
    url: str
    token: str | None


class Workers(Protocol):
    def __call__(self, job: Job, over: Callable[[], bool], /) -> None:
        """Work until the experiment is over."""


def work(job: Job) -> None:
    """One trial after the other until the experiment is over. A failure of the objective is its
    trial's."""
    space = Described(job.space)
    call = caller_of(job.objective, space.names)
    with Client(job.url, token=job.token, namespace=job.namespace, timeout=TIMEOUT_S) as client:
        try:
            for trial in client.work_on(job.name, ahead=1, lease=LEASE_S):
                _try(trial, job.metric, space, call)
        except NotThere:
            # Deleted meanwhile: as over as can be.
            log.warning("%s was deleted while it was worked on", job.name)


def _try(
    trial: AskedTrial,
    metric: str,
    space: Described,
    call: Callable[[Mapping[str, Any], Any], Any],
) -> None:
    try:
        with trial:
            value = call(space.values(trial.parameters), trial)
            if isinstance(value, Mapping):
                trial.tell(value)
            elif value is not None:
                trial.tell({metric: value})
    except LeaseLost as lost:
        log.warning("%s", lost)
    except Exception:
        # Its message is the trial's; many objectives fail for some parameters.
        log.info("%s failed", trial.name, exc_info=True)


def in_this_thread(job: Job, _over: Callable[[], bool]) -> None:
    work(job)


def in_threads(count: int) -> Workers:
    def run(job: Job, _over: Callable[[], bool]) -> None:
        failures: list[BaseException] = []

        def one() -> None:
            try:
                work(job)
            except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
                failures.append(error)

        threads = [
            threading.Thread(target=one, name=f"tune {i}", daemon=True) for i in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            # In portions: an interrupt is heard between them.
            while thread.is_alive():
                thread.join(LOOK_S)
        if failures:
            raise failures[0]

    return run


def in_processes(count: int) -> Workers:
    def run(job: Job, over: Callable[[], bool]) -> None:
        context = multiprocessing.get_context("spawn")

        def start() -> BaseProcess:
            process = context.Process(target=_in_process, args=(job,), daemon=True)
            process.start()
            return process

        processes = [start() for _ in range(count)]
        restarts = 0
        try:
            while processes:
                for process in [it for it in processes if not it.is_alive()]:
                    processes.remove(process)
                    if process.exitcode == 0 or over():
                        continue
                    restarts += 1
                    if restarts > MAX_RESTARTS:
                        raise TuneFailed(_why_it_died(process))
                    processes.append(start())
                time.sleep(LOOK_S)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()

    return run


def _in_process(job: Job) -> None:
    try:
        work(job)
    except KeyboardInterrupt:
        # The parent hears it, too, and says so.
        sys.exit(0)


def _why_it_died(process: BaseProcess) -> str:
    how = f"exit code {process.exitcode}"
    if process.exitcode is not None and process.exitcode < 0:
        how = f"signal {-process.exitcode}"
    return f"worker processes end again and again, the last one with {how}"


def why_not_in_processes(objective: Objective) -> str | None:
    """None: another process can load it."""
    try:
        pickle.dumps(objective)
    except Exception as error:  # noqa: BLE001 - pickling runs the user's own code
        return f"it cannot be sent to another process ({error})"
    main = sys.modules["__main__"]
    in_main = getattr(objective, "__module__", None) == "__main__"
    if in_main and not getattr(main, "__file__", None):
        return "it is defined where another process cannot load it from (move it to a module)"
    return None


def check_that_main_may_be_loaded_again() -> None:
    """Raises RuntimeError in a worker that has loaded a main module without its guard."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            "tune(parallel=...) starts processes that load this file again: call it below "
            '`if __name__ == "__main__":`'
        )
