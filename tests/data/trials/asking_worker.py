"""A worker for tests: asks for trials until its experiment is over, and notes what it hears.

python asking_worker.py DATA_DIR NAMESPACE EXPERIMENT NOTES SECONDS THREADS LEASE

Notes, one line each: `begun TRIAL ATTEMPT PID`, `told TRIAL ATTEMPT LOSS` (its result is stored),
`lost TRIAL ATTEMPT` (somebody else has it by now).
"""

import os
import sys
import threading
import time

from trialbus import Client, ExperimentOver, LeaseLost, TimedOut, Unavailable

PATIENCE_S = 60.0


def note(path: str, *words: object) -> None:
    """One write: lines of several processes do not mix."""
    line = " ".join(map(str, words)) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def work(data: str, namespace: str, name: str, notes: str, seconds: float, lease: float) -> None:
    with Client(data_dir=data, namespace=namespace, timeout=PATIENCE_S) as client:
        while True:
            try:
                trial = client.ask(name, lease=lease, timeout=PATIENCE_S)
            except ExperimentOver:
                return
            except (TimedOut, Unavailable):
                continue
            note(notes, "begun", trial.name, trial.attempt, os.getpid())
            time.sleep(seconds)
            loss = float(trial.parameters["x"]) ** 2
            try:
                trial.tell(loss=loss)
            except LeaseLost:
                note(notes, "lost", trial.name, trial.attempt)
            else:
                note(notes, "told", trial.name, trial.attempt, repr(loss))


def main() -> None:
    data, namespace, name, notes, seconds, threads, lease = sys.argv[1:]
    arguments = (data, namespace, name, notes, float(seconds), float(lease))
    workers = [threading.Thread(target=work, args=arguments) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
