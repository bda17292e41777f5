"""Ports for trials of this machine that listen."""

import errno
import random
import socket

# Below those that the kernel gives to connections, and above those of well-known services.
_FIRST, _COUNT = 20_000, 10_000


class FreePorts:
    """Each call gives another port that nobody listens on; from a random place on, so that two
    launchers of one machine seldom meet."""

    def __init__(self) -> None:
        self._next = random.randrange(_COUNT)

    def take(self) -> int:
        for _ in range(_COUNT):
            port = _FIRST + self._next
            self._next = (self._next + 1) % _COUNT
            if _is_free(port):
                return port
        raise OSError(errno.EADDRINUSE, "no free port is left for a trial")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that a port of connections that have just ended counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
