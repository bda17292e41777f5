"""A process that has everything loaded and becomes services by forking. Run as a module.

    python -P -m trialbus.local.fork_server PARENT_PID      (a SOCK_SEQPACKET socket as stdin)

It has no thread and no event loop, so a fork of it is clean. Orders come as JSON, one a packet;
it answers with the pid of each child, or why there is none, and tells when one has ended. It ends
with its parent, and its children end with it.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trialbus.local.death_signal import die_with, show_as
from trialbus.local.supervisor_log import log

# What every service imports sooner or later.
COMMON_MODULES = ("trialbus.local.hosting",)
PACKET_BYTES = 64 * 1024
_SIGNALS = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Start this service, with these environment variables and its output in this file."""

    service: str
    environ: dict[str, str]
    log_path: str

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def main(parent: int) -> int:
    die_with(parent)
    gc.disable()
    for module in COMMON_MODULES:
        importlib.import_module(module)
    _load_services()
    # The objects of the modules are never collected, so their pages stay shared.
    gc.freeze()
    order = _serve(socket.socket(fileno=0))
    if order is None:
        return 0
    code = _become(order)
    # Not a return: taking the interpreter apart would touch, and so copy, every shared page.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _load_services() -> None:
    """Import every service once, so that a fork of this process has nothing left to import. One
    that cannot be imported fails in its own process, with its own log."""
    definitions: Any = importlib.import_module("trialbus.local.definitions")
    for name in definitions.service_names():
        try:
            definitions.load_definition(name)
        except Exception as error:  # noqa: BLE001 - whatever a module of somebody else raises
            log("not loaded", process=name, error=repr(error))


def _serve(orders: socket.socket) -> Order | None:
    """Fork until the other end closes. Returns an order only in a child: what it is to be."""
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        readable, _, _ = select.select([orders.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, PACKET_BYTES)
            _report_ended(orders)
        if orders.fileno() in readable:
            packet = orders.recv(PACKET_BYTES)
            if not packet:
                return None
            order = Order(**json.loads(packet))
            parent = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:  # too many processes, too little memory: for now
                _tell(orders, {"failed": str(error)})
                continue
            if pid == 0:
                _leave_server(orders, parent, woken, wake)
                return order
            _tell(orders, {"started": pid})


def _report_ended(orders: socket.socket) -> None:
    with suppress(ChildProcessError):  # there is no child at all
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _tell(orders, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(orders: socket.socket, message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the parent has gone: recv will say so
        orders.send(json.dumps(message).encode())


def _leave_server(orders: socket.socket, parent: int, woken: int, wake: int) -> None:
    """In a child: nothing of the server is left, and it dies with the server."""
    die_with(parent)
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
    orders.detach()  # descriptor 0 is replaced when the output is redirected
    os.close(woken)
    os.close(wake)
    gc.enable()


def _become(order: Order) -> int:
    _redirect(order.log_path)
    os.environ.update(order.environ)
    show_as(f"tb-{order.service.replace('_', '-')}")
    hosting: Any = importlib.import_module("trialbus.local.hosting")
    return int(hosting.run_service(order.service))


def _redirect(log_path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log = os.open(Path(log_path), flags, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
