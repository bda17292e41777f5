"""`report_metrics`, `checkpoint_dir` and `should_stop`: inside any trial, without configuration.

Light on purpose: a trial that a launcher runs imports this, and little else of ours.
"""

import functools
import itertools
import json
import math
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from trialbus.client.addresses import TOKEN_VARIABLE, URL_VARIABLE
from trialbus.client.calls import Call, good
from trialbus.client.current import CURRENT
from trialbus.client.driving import drive
from trialbus.client.failures import NotInATrial, Refused, Unavailable
from trialbus.client.http1 import Base
from trialbus.client.patience import Patience, patiently
from trialbus.client.reports import read_report
from trialbus.client.sync_http import SyncHttp
from trialbus.contracts.http_paths import experiment_path
from trialbus.kernel.reporting import METRICS_PATH_VARIABLE, REPORT_VARIABLE, ReportTo

TIMEOUT_S = 30.0
# What is found in a line of text; other names are pushed.
_PLAIN_NAME = re.compile(r"[\w|-]+", re.ASCII)


def report_metrics(
    step: int | Mapping[str, float] | None = None,
    metrics: Mapping[str, float] | None = None,
    /,
    **values: float,
) -> None:
    """Report from inside a trial: `report_metrics(3, loss=0.1)`, `report_metrics(loss=0.1)` or
    `report_metrics({"f1/a": 0.1})`.

    In the block of an asked trial it is that trial's report. In a trial that a launcher runs it
    goes where the experiment's metrics collector looks: to its output, its file, or over HTTP.
    Anywhere else it is printed, so that a script runs by hand as it stands.

    Raises ValueError for a report without metrics; Unavailable, Refused where it goes over HTTP.
    """
    asked = CURRENT.get()
    if asked is not None:
        if hasattr(asked, "__aenter__"):
            raise TypeError("in an async trial: await trial.report(...)")
        asked.report(step, metrics, **values)
        return
    number, found = read_report(step, metrics, values)
    match os.environ.get(REPORT_VARIABLE):
        case ReportTo.JSON:
            _append(json.dumps({"timestamp": time.time(), **_as_json(found)}))
        case ReportTo.TEXT if _is_plain(found):
            _append(_line(number, found))
        case ReportTo.STDOUT if _is_plain(found):
            # Past whatever stands for stdout just now: the collector reads the process's own.
            sys.stdout.flush()
            os.write(1, f"{_line(number, found)}\n".encode())
        case None:
            sys.stdout.write(f"{_line(number, found)}\n")
            sys.stdout.flush()
        case _:
            _pushing().push(number, found)


def checkpoint_dir() -> Path:
    """The folder where this trial keeps what its next attempt, or a trial after it, goes on from;
    it is there when this returns. Raises NotInATrial; ValueError where checkpoints are URIs (then
    `TRIALBUS_CHECKPOINT`, or `trial.checkpoint`, is the URI)."""
    asked = CURRENT.get()
    place = asked.checkpoint if asked is not None else os.environ.get("TRIALBUS_CHECKPOINT")
    if not place:
        raise NotInATrial("only a trial has a folder for its checkpoints")
    if isinstance(place, str) and "://" in place:
        raise ValueError(f"{place} is no folder")
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def should_stop() -> bool:
    """Whether this trial should save what it has and end.

    In a trial that a launcher runs, the first call takes SIGTERM, which is how it is stopped, into
    its own hands: from then on the trial ends by itself, within the launcher's patience (10 s).
    Outside of trials False.
    """
    asked = CURRENT.get()
    if asked is not None:
        return asked.should_stop()
    if "TRIALBUS_TRIAL_NAME" not in os.environ:
        return False
    return _stopping().is_set()


class _Stopping:
    """Set by SIGTERM, or when an answer says so."""

    def __init__(self) -> None:
        self._told = threading.Event()
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told.set()

    def set(self) -> None:
        self._told.set()

    def is_set(self) -> bool:
        return self._told.is_set()


class _Pushing:
    """Reports over HTTP, of the attempt that the environment names. Raises NotInATrial."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        url = environ.get(URL_VARIABLE)
        if url is None:
            raise NotInATrial(f"where reports go is not told ({URL_VARIABLE})")
        self._trial = environ["TRIALBUS_TRIAL_NAME"]
        self._attempt = int(environ["TRIALBUS_ATTEMPT"])
        place = environ["TRIALBUS_NAMESPACE"], environ["TRIALBUS_EXPERIMENT"]
        self._path = experiment_path(*place, "report")
        self._http = SyncHttp(Base(url, environ.get(TOKEN_VARIABLE) or None))
        self._word, self._numbers = uuid.uuid4().hex[:12], itertools.count()

    def push(self, step: int | None, metrics: Mapping[str, float]) -> None:
        """Raises Unavailable, Refused."""
        report: dict[str, Any] = {
            "trial": self._trial,
            "attempt": self._attempt,
            "metrics": _as_json(metrics),
            "at": time.time(),
            "id": f"{self._word}.{next(self._numbers)}",
        }
        if step is not None:
            report["step"] = step
        answered = self._say(json.dumps({"reports": [report]}).encode())
        if answered.get("stop"):
            _stopping().set()
        elif answered.get("refused"):
            raise Refused(f"the report is refused: {answered['refused']}")

    def _say(self, body: bytes) -> Mapping[str, Any]:
        patience = Patience(seconds=TIMEOUT_S)
        call = Call(method="POST", path=self._path, body=body)
        began, pause_s = time.monotonic(), 0.1
        while True:
            reply = good(drive(patiently(call, patience), self._http.send)).json()
            answered: Mapping[str, Any] = reply["answers"][0]
            if answered["accepted"] or answered.get("refused") is not None:
                return answered
            if time.monotonic() - began > TIMEOUT_S:
                raise Unavailable("whether the report is stored is not known")
            time.sleep(pause_s)


@functools.cache
def _pushing() -> _Pushing:
    return _Pushing(os.environ)


@functools.cache
def _stopping() -> _Stopping:
    return _Stopping()


def _append(line: str) -> None:
    """In one write, so that processes of one trial do not mix their lines."""
    with Path(os.environ[METRICS_PATH_VARIABLE]).open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def _line(step: int | None, metrics: Mapping[str, float]) -> str:
    words = [f"{name}={value!r}" for name, value in metrics.items()]
    return " ".join(words if step is None or "step" in metrics else [f"step={step}", *words])


def _is_plain(metrics: Mapping[str, float]) -> bool:
    return all(_PLAIN_NAME.fullmatch(name) for name in metrics)


def _as_json(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """What JSON lacks are texts."""
    return {
        name: value if math.isfinite(value) else _word(value) for name, value in metrics.items()
    }


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
