"""Free TCP ports on loopback, outside the range from which the kernel draws for outgoing ones.

Inside that range a client that reconnects to a restarting server could be given the server's own
port as its source, connect to itself, and so keep the server from coming back.
"""

import secrets
import socket
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
# Below Linux's ip_local_port_range (32768) and Kubernetes' node ports (30000).
LOWEST_PORT = 20_000
PORT_COUNT = 10_000
MAX_DRAWS = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now; it may be taken a moment later."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> Iterator[int]:
    """Up to `count` ports, each another, that are free when drawn. The starter tries the next one
    when it lost."""
    drawn: set[int] = set()
    for _ in range(MAX_DRAWS):
        port = LOWEST_PORT + secrets.randbelow(PORT_COUNT)
        if len(drawn) < count and port not in drawn and is_free(port):
            drawn.add(port)
            yield port
