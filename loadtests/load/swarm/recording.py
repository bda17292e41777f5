"""What Locust tells of every request becomes lines of windows."""

import time
from types import TracebackType
from typing import Any, Self

import gevent
from locust.env import Environment

from loadtests.load.plan import Plan, told_line, window_line
from loadtests.load.windows import Cell

MAX_PROBLEM_CHARS = 160


class Recorder:
    """While it is open. told: written when it closes."""

    def __init__(self, environment: Environment, plan: Plan) -> None:
        self.told: dict[str, int] = {}
        self._environment = environment
        self._window_s = plan.window
        self._file = plan.output.open("w")
        self._cells: dict[str, Cell] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._environment.events.request.add_listener(self._measured)
        self._writing = gevent.spawn(self._write_for_ever)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writing.kill()
        self._write()
        self._file.write(told_line(self.told))
        self._file.close()

    def _measured(
        self, *, name: str, response_time: float, exception: Any = None, **_rest: Any
    ) -> None:
        problem = None if exception is None else str(exception)[:MAX_PROBLEM_CHARS]
        self._cells.setdefault(name, Cell()).add(response_time, problem)

    def _write_for_ever(self) -> None:
        while True:
            gevent.sleep(self._window_s)
            self._write()

    def _write(self) -> None:
        cells, self._cells = self._cells, {}
        self._file.write(window_line(time.monotonic() - self._began, cells))
        self._file.flush()
