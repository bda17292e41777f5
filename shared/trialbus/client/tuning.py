"""`tune`: a plain Python function, its best parameters."""

import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialbus.client.addresses import (
    DATA_DIR_VARIABLE,
    DEFAULT_DATA_DIR,
    TOKEN_VARIABLE,
    URL_VARIABLE,
)
from trialbus.client.calling import Objective, caller_of
from trialbus.client.client import Client
from trialbus.client.failures import TrialbusError, TuneFailed
from trialbus.client.own_stack import own_stack, running_on
from trialbus.client.progress_line import ProgressLine, progress_line
from trialbus.client.results import Result, TunedTrial, tuned_trial
from trialbus.client.space import Described, Space
from trialbus.client.talk import DEFAULT_NAMESPACE
from trialbus.client.tuning_work import (
    Job,
    Workers,
    check_that_main_may_be_loaded_again,
    in_processes,
    in_this_thread,
    in_threads,
    why_not_in_processes,
)
from trialbus.contracts.progress import Progress

DEFAULT_METRIC = "loss"
DEFAULT_TRIALS = 50
# Faults of the objective itself show at once; a few unlucky points may fail.
MAX_FAILED = 3
LOOK_S = 0.25
# After the last result: the end is decided and written.
END_DEADLINE_S = 60.0


def tune(
    objective: Objective,
    space: Space,
    *,
    trials: int = DEFAULT_TRIALS,
    parallel: int = 1,
    minimize: str | None = None,
    maximize: str | None = None,
    goal: float | None = None,
    algorithm: str = "tpe",
    settings: Mapping[str, Any] | None = None,
    stopping: str | None = None,
    stopping_settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    metrics: Sequence[str] = (),
    max_failed: int = MAX_FAILED,
    timeout: float | None = None,
    name: str | None = None,
    namespace: str = DEFAULT_NAMESPACE,
    url: str | None = None,
    token: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Result:
    """Find the parameters with which `objective` is best.

    objective: called as `f(lr=..., layers=...)` or `f(parameters)`, with `trial` too if it has a
    parameter of that name (`trial.report(step, loss=...)`, `trial.should_stop()`). It returns the
    value, or a dict of metrics with the objective among them, or nothing: then what it reported
    last counts. space: name -> `trialbus.uniform`, `log`, `integer`, `choice`, or a list.

    trials: how many at most. parallel: so many at a time, in processes of their own (in threads,
    with a note, if the function cannot be sent to a process). minimize, maximize: the name of the
    metric that is the objective; without either, the result is minimized and called `loss`. goal:
    it ends as soon as the metric is as good. algorithm, settings; stopping, stopping_settings: of
    docs/reference/algorithms.md. seed: the same points again, with `parallel=1`. metrics: further
    ones to keep. max_failed: more failed trials than that end it. timeout: seconds; then it ends
    with what it has found.

    url, token: of a running stack. Without url it is `TRIALBUS_URL`, else the stack that runs on
    data_dir (or on `TRIALBUS_DATA_DIR`, or on `.trialbus`), else one that is started on data_dir,
    or in a temporary folder, and taken down at the end. name: of the experiment; the same name on
    the same stack goes on where it was. progress: a line on stderr, if that is a terminal or a
    notebook.

    Raises TuneFailed without any result, Refused with every problem of what was asked for,
    Unavailable, TypeError for a function that cannot be called so.
    """
    check_that_main_may_be_loaded_again()
    if minimize is not None and maximize is not None:
        raise ValueError("either minimize or maximize")
    described = Described(space)
    caller_of(objective, described.names)
    wish = _Wish(
        space=described,
        metric=minimize or maximize or DEFAULT_METRIC,
        smallest=maximize is None,
        trials=trials,
        parallel=parallel,
        goal=goal,
        algorithm=algorithm,
        settings=_with_seed(settings, seed),
        stopping=stopping,
        stopping_settings=stopping_settings or {},
        metrics=tuple(metrics),
        max_failed=max_failed,
        name=name or f"tune-{uuid.uuid4().hex[:8]}",
        namespace=namespace,
    )
    line = progress_line(progress)
    workers = _workers(objective, parallel)
    try:
        with _stack(url, data_dir, line) as address:
            job = _job(objective, space, wish, address, token)
            return _run(job, wish, workers, timeout, line)
    finally:
        line.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    space: Described
    metric: str
    smallest: bool
    trials: int
    parallel: int
    goal: float | None
    algorithm: str
    settings: Mapping[str, str]
    stopping: str | None
    stopping_settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    max_failed: int = MAX_FAILED
    name: str
    namespace: str

    def experiment(self) -> dict[str, Any]:
        objective: dict[str, Any] = {
            "type": "minimize" if self.smallest else "maximize",
            "objectiveMetricName": self.metric,
            "additionalMetricNames": [it for it in self.metrics if it != self.metric],
        }
        if self.goal is not None:
            objective["goal"] = float(self.goal)
        spec: dict[str, Any] = {
            "objective": objective,
            "algorithm": _with_settings(self.algorithm, self.settings),
            "parallelTrialCount": self.parallel,
            "maxTrialCount": self.trials,
            "maxFailedTrialCount": self.max_failed,
            "resumePolicy": "LongRunning",
            "parameters": self.space.as_katib(),
        }
        if self.stopping is not None:
            spec["earlyStopping"] = _with_settings(self.stopping, self.stopping_settings)
        return {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "annotations": {"trialbus.io/trials-by": "workers"},
            },
            "spec": spec,
        }


def _job(objective: Objective, space: Space, wish: _Wish, address: str, token: str | None) -> Job:
    return Job(
        objective=objective,
        space=space,
        metric=wish.metric,
        name=wish.name,
        namespace=wish.namespace,
        url=address,
        token=token or os.environ.get(TOKEN_VARIABLE) or None,
    )


def _with_seed(settings: Mapping[str, Any] | None, seed: int | None) -> dict[str, str]:
    given = {str(name): str(value) for name, value in (settings or {}).items()}
    return given if seed is None else {"random_state": str(seed), **given}


def _with_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    listed = [{"name": key, "value": str(value)} for key, value in settings.items()]
    return {"algorithmName": name, "algorithmSettings": listed}


def _workers(objective: Objective, parallel: int) -> Workers:
    if parallel == 1:
        return in_this_thread
    why_not = why_not_in_processes(objective)
    if why_not is None:
        return in_processes(parallel)
    sys.stderr.write(f"trialbus: {parallel} threads instead of processes: {why_not}\n")
    return in_threads(parallel)


@contextmanager
def _stack(
    url: str | None, data_dir: str | os.PathLike[str] | None, line: ProgressLine
) -> Iterator[str]:
    """Its address: the one that is meant, else the one that runs here, else one of our own."""
    if url is None and data_dir is None:
        url = os.environ.get(URL_VARIABLE) or running_on(
            Path(os.environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR)
        )
    if url is not None:
        yield url
        return
    with own_stack(data_dir, line.say) as own:
        yield own


def _run(
    job: Job, wish: _Wish, workers: Workers, timeout: float | None, line: ProgressLine
) -> Result:
    with Client(job.url, token=job.token, namespace=job.namespace) as client:
        client.apply(wish.experiment())
        over = threading.Event()
        try:
            with _watching(client, job.name, timeout, line, over):
                workers(job, over.is_set)
                ended = client.wait(job.name, timeout=END_DEADLINE_S)
        except BaseException:
            # Nobody works on it any more.
            with suppress(TrialbusError):
                client.stop(job.name)
            raise
        line.show(ended)
        return _result(client, ended, wish)


@contextmanager
def _watching(
    client: Client, name: str, timeout: float | None, line: ProgressLine, over: threading.Event
) -> Iterator[None]:
    """Beside the work: show how far it is, and end it in time."""
    if timeout is None and not line.is_shown:
        try:
            yield
        finally:
            over.set()
        return
    thread = threading.Thread(
        target=_watch, args=(client, name, timeout, line, over), name="trialbus-watch", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(
    client: Client, name: str, timeout: float | None, line: ProgressLine, over: threading.Event
) -> None:
    began, stopped = time.monotonic(), False
    while not over.wait(LOOK_S):
        # Who works hears of a stack that has gone, and says so.
        with suppress(TrialbusError):
            if timeout is not None and not stopped and time.monotonic() - began >= timeout:
                client.stop(name)
                stopped = True
            if line.is_shown:
                line.show(client.progress(name))


def _result(client: Client, ended: Progress, wish: _Wish) -> Result:
    rows = tuple(
        tuned_trial(number, trial, wish.space, wish.metric, smallest=wish.smallest)
        for number, trial in enumerate(client.trials(wish.name))
    )
    best = client.best(wish.name)
    if best is None or ended.phase == "Failed":
        raise TuneFailed(_why(ended, rows))
    [row] = [it for it in rows if it.name == best.trial]
    return Result(
        parameters=row.parameters,
        value=float(best.value),
        trial=best.trial,
        trials=rows,
        name=wish.name,
        message=ended.message,
    )


def _why(ended: Progress, rows: Sequence[TunedTrial]) -> str:
    """With what the first trial that failed said: mostly it is the same for all."""
    failed = [it for it in rows if it.state == "Failed" and it.message]
    first = f"; {failed[0].name}: {failed[0].message}" if failed else ""
    return f"{ended.message or ended.phase}{first}"
