"""The spool of one run, kept beside it by its launcher."""

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from trialbus.kernel.errors import Transient
from trialbus.kernel.json_metric_lines import json_object
from trialbus.kernel.limits import READ_BLOCK_BYTES
from trialbus.ports.launcher import Launcher
from trialbus_trial_launcher.core.spool import SPOOL

Json = Any


class Spool:
    def __init__(self, launcher: Launcher, run_id: str) -> None:
        self._launcher = launcher
        self._run_id = run_id
        self.size_bytes = 0

    async def read(self, from_byte: int, max_bytes: int) -> bytes:
        return await self._launcher.read_kept(self._run_id, SPOOL, from_byte, max_bytes)

    async def records(self) -> AsyncIterator[Mapping[str, Json]]:
        """All that is there, from the beginning; after the last one lines are added."""
        self.size_bytes = 0
        rest = b""
        while data := await self.read(self.size_bytes, READ_BLOCK_BYTES):
            self.size_bytes += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if (record := json_object(line)) is not None:
                    yield record
            await asyncio.sleep(0)

    async def append(self, lines: Sequence[bytes]) -> None:
        """All of them or none. Raises Transient; then the spool is to be read again."""
        data = b"".join(lines)
        if not data:
            return
        try:
            kept = await self._launcher.keep(self._run_id, SPOOL, self.size_bytes, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
                raise
            raise Transient(f"no room for metrics: {error}") from error
        if not kept:
            raise Transient("another launcher follows this run, or it is gone")
        self.size_bytes += len(data)
