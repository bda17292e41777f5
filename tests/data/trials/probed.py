"""A trial that leaves traces: `<trial> <attempt> <pid> begun|ended <time>` in a probe file.

    probed.py PROBE_FILE X POINTS DURATION_S LONG_DURATION_S

It prints POINTS values of `loss`: X times the number of the point. One of sixteen is long.
"""

import os
import sys
import time


def main(probe: str, x: str, points: str, duration_s: str, long_duration_s: str) -> None:
    is_long = int(float(x) * 1e6) % 16 == 0
    pause_s = float(long_duration_s if is_long else duration_s) / int(points)
    trace = os.open(probe, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    say(trace, "begun")
    for number in range(1, int(points) + 1):
        print(f"epoch {number}: loss={float(x) * number!r}", flush=True)
        time.sleep(pause_s)
    say(trace, "ended")


def say(trace: int, what: str) -> None:
    trial, attempt = os.environ["TRIALBUS_TRIAL_NAME"], os.environ["TRIALBUS_ATTEMPT"]
    line = f"{trial} {attempt} {os.getpid()} {what} {time.monotonic()!r}\n"
    os.write(trace, line.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
