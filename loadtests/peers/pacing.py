"""What every worker process of the comparison does around its loop. Needs nothing but Python: it
also runs where trialbus is not installed.

A worker says `ready`, waits for a line, works for so many seconds, and says how many results it
knows to be stored and how long that took.
"""

import sys
import time
from collections.abc import Callable


def measure(once: Callable[[], int], seconds: float) -> None:
    """once: works on some trials; how many results are durable now that were not before."""
    once()  # connections are open, modules loaded
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    done = 0
    while time.perf_counter() - began < seconds:
        done += once()
    print(done, time.perf_counter() - began, flush=True)
