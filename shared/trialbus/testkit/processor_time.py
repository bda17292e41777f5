"""How much of the processor something takes, for tests that bound it."""

import gc
import time
from collections.abc import Callable

ROUNDS = 3


def cpu_s(act: Callable[[], object]) -> float:
    """Seconds of this process' processor time, all threads: the least of three rounds of `act`,
    for what else a busy machine does slows each of them differently."""
    # A collection amid a round would cost what all the tests before have left.
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return min(_once_s(act) for _ in range(ROUNDS))
    finally:
        if was_enabled:
            gc.enable()


def _once_s(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began
