"""One worker of trialbus, by its Python client: python -m loadtests.peers.our_worker URL NAME AHEAD
SECONDS

URL: of the gateway, or `nats://` of the bus. AHEAD: 1, or so many leased in advance.
"""

import sys
from collections.abc import Iterator

from loadtests.peers.pacing import measure
from loadtests.stack import NAMESPACE
from trialbus import AskedTrial, Client


def main() -> None:
    url, name, ahead, seconds = sys.argv[1:]
    with Client(url, namespace=NAMESPACE) as client:
        trials = iter(client.work_on(name, ahead=int(ahead)))
        trial = next(trials)

        def once() -> int:
            """As many as are told in one exchange: a result is stored when the next trials come."""
            nonlocal trial
            for _ in range(int(ahead)):
                trial = _tell(trial, trials)
            return int(ahead)

        measure(once, float(seconds))


def _tell(trial: AskedTrial, trials: Iterator[AskedTrial]) -> AskedTrial:
    trial.tell(loss=0.5)
    return next(trials)


if __name__ == "__main__":
    main()
