"""Does the jobs that are missing, in processes of their own, until all are done or time is up."""

import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context

from loadtests.quality.play import play
from loadtests.quality.results import Job, Line, Results
from loadtests.quality.slices import entrant_named, task_named

# A process keeps every training that it did; a fresh one now and then keeps memory flat.
JOBS_PER_PROCESS = 400


def run_job(job: Job) -> Line:
    entrant, task = entrant_named(job.entrant), task_named(job.task)
    played = play(
        entrant.create(task.parameters, job.seed),
        task.loss_of(job.seed),
        seed=job.seed,
        evaluations=job.evaluations,
        in_flight=job.in_flight,
    )
    return Line(job=job, version=entrant.version(), played=played)


def run_missing(jobs: Iterable[Job], results: Results, *, workers: int, seconds: float) -> int:
    """How many are still missing when `seconds` are over; those that run then are ended first."""
    missing = list(_missing(jobs, results))
    deadline = time.monotonic() + seconds
    waiting = iter(missing)
    done = 0
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), max_tasks_per_child=JOBS_PER_PROCESS
    ) as pool:
        running: set[Future[Line]] = set()
        while True:
            if time.monotonic() < deadline:
                wanted = 2 * workers - len(running)
                running |= {pool.submit(run_job, job) for job in islice(waiting, wanted)}
            if not running:
                return len(missing) - done
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                results.add(future.result())
                done += 1
            _show(done, len(missing))


def _missing(jobs: Iterable[Job], results: Results) -> Iterator[Job]:
    versions: dict[str, str] = {}
    for job in jobs:
        if job.entrant not in versions:
            versions[job.entrant] = entrant_named(job.entrant).version()
        if not results.has(job, versions[job.entrant]):
            yield job


def _show(done: int, count: int) -> None:
    if done % 20 == 0 or done == count:
        print(f"{time.strftime('%H:%M:%S')} {done} of {count}", file=sys.stderr, flush=True)
