"""A mongod that is far away: a proxy that holds every message back, in place of the binary.

`python -m loadtests.load.slowing MONGOD DELAY_MS --config FILE` starts the real one on a port of
its own and listens, on loopback, where FILE says. Throughput is not limited, only time passes.
"""

import asyncio
import os
import shlex
import signal
import stat
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from trialbus.local.servers import find_mongod, guarded_exec, ports, require
from trialbus.local.servers.ports import LOOPBACK
from trialbus.local.servers.process import LOCK_WAIT_S

CHUNK_BYTES = 256 * 1024
# What is under way in one direction.
MAX_UNDER_WAY = 4096


@contextmanager
def slow_store(delay_ms: float) -> Iterator[Mapping[str, str]]:
    """Environment of a stack whose mongod is that far away; nothing without a delay."""
    if delay_ms <= 0:
        yield {}
        return
    words = [sys.executable, "-m", __name__, str(require(find_mongod())), str(delay_ms)]
    with TemporaryDirectory(prefix="trialbus-slow-") as folder:
        script = Path(folder) / "mongod"
        root = shlex.quote(str(Path(__file__).parents[2]))
        script.write_text(
            f'#!/bin/sh\nexport PYTHONPATH={root}:$PYTHONPATH\nexec {shlex.join(words)} "$@"\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        yield {"TRIALBUS_MONGOD_BIN": str(script)}


async def run(binary: str, delay_s: float, config: Path) -> int:
    """Until mongod ends; its exit code."""
    other = config.with_suffix(".behind.conf")
    port, own = await asyncio.to_thread(_move, config, other)
    server = await listen(port, own, delay_s)
    guard = (sys.executable, "-I", "-S", guarded_exec.__file__, str(os.getpid()))
    lock = (str(config.with_suffix(".behind.lock")), str(LOCK_WAIT_S))
    process = await asyncio.create_subprocess_exec(*guard, *lock, binary, "--config", str(other))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        loop.add_signal_handler(number, _pass_on, process, number)
    code = await process.wait()
    server.close()
    return code


async def listen(port: int, target: int, delay_s: float) -> asyncio.Server:
    """On loopback, for `target` on the same machine; each way takes `delay_s`."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_connection(LOOPBACK, target)
        except OSError:
            writer.close()
            return
        there = asyncio.create_task(carry(reader, behind_writer, delay_s))
        back = asyncio.create_task(carry(behind_reader, writer, delay_s))
        await asyncio.wait((there, back))

    return await asyncio.start_server(serve, LOOPBACK, port)


async def carry(reader: StreamReader, writer: StreamWriter, delay_s: float) -> None:
    """Until the sender closes: in order, each piece `delay_s` after it came."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_UNDER_WAY)

    async def take() -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(CHUNK_BYTES):
                await under_way.put((loop.time() + delay_s, piece))
        await under_way.put((loop.time() + delay_s, b""))

    taking = asyncio.create_task(take())
    with suppress(ConnectionError):
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
    taking.cancel()
    writer.close()


def _move(config: Path, other: Path) -> tuple[int, int]:
    """The same settings with a port of its own; the port that was, and the new one."""
    settings = yaml.safe_load(config.read_text())
    port, own = settings["net"]["port"], next(ports.free_ports(1))
    settings["net"]["port"] = own
    other.write_text(yaml.safe_dump(settings, sort_keys=False))
    return port, own


def _pass_on(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def main() -> int:
    binary, delay_ms, *words = sys.argv[1:]
    if words[:1] != ["--config"]:
        # `--version` and such: as itself.
        os.execv(binary, [binary, *words])
    return asyncio.run(run(binary, float(delay_ms) / 1000, Path(words[1])))


if __name__ == "__main__":
    sys.exit(main())
