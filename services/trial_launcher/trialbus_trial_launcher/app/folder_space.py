"""How much room is left where a machine keeps what runs on it: told before it is used up."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from trialbus.kernel.checkpoints import is_uri
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts

# Disks fill in minutes, and scrapes come every few seconds.
INTERVAL_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Of a file system, which `device` tells apart. free_bytes: for us."""

    device: int
    free_bytes: int
    size_bytes: int


class FolderSpace:
    """folders: by the label that they are told under; URIs are somebody else's. Of several on one
    file system the first is told. read: of a path; raises OSError."""

    def __init__(
        self, parts: Parts, folders: Mapping[str, str], read: Callable[[str], Space]
    ) -> None:
        self._parts = parts
        self._folders = {name: path for name, path in folders.items() if not is_uri(path)}
        self._read = read
        # Why each of these could not be read at the last look.
        self._unknown: dict[str, str] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await self._parts.clock.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Read, and tell it as gauges; of what cannot be read there is none."""
        # A file system of another machine may take its time.
        spaces = await asyncio.to_thread(lambda: dict(self._spaces()))
        telemetry = self._parts.telemetry
        free: dict[tuple[str, ...], float] = {(key,): it.free_bytes for key, it in spaces.items()}
        size: dict[tuple[str, ...], float] = {(key,): it.size_bytes for key, it in spaces.items()}
        telemetry.replace(metrics.FOLDER_FREE, free)
        telemetry.replace(metrics.FOLDER_SIZE, size)

    def _spaces(self) -> Iterator[tuple[str, Space]]:
        seen: set[int] = set()
        for name, path in self._folders.items():
            try:
                space = self._read(path)
            except OSError as error:
                self._warn(path, str(error))
                continue
            self._unknown.pop(path, None)
            if space.device not in seen:
                seen.add(space.device)
                yield name, space

    def _warn(self, path: str, error: str) -> None:
        """Once for as long as it stays so."""
        if self._unknown.get(path) != error:
            self._unknown[path] = error
            self._parts.telemetry.log.warning("free space is not known", folder=path, error=error)
