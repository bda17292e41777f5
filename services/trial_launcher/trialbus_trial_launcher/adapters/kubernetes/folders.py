"""What the port asks of places that keep folders: pods take theirs along."""

from collections.abc import Sequence

from trialbus.ports.launcher import PrivateFile


class NoFolders:
    """Of the port Launcher, for a place that keeps no files of runs."""

    async def private_files(self, run_id: str, folder: str) -> Sequence[PrivateFile]:
        del run_id, folder
        return ()

    async def read_private(self, run_id: str, path: str, from_byte: int, max_bytes: int) -> bytes:
        del run_id, path, from_byte, max_bytes
        return b""

    async def read_kept(self, run_id: str, name: str, from_byte: int, max_bytes: int) -> bytes:
        del run_id, name, from_byte, max_bytes
        return b""

    async def keep(self, run_id: str, name: str, at_byte: int, data: bytes) -> bool:
        del run_id, name, at_byte, data
        return False

    async def forget_checkpoints(self, folder: str) -> None:
        """They are on a claim or at a URI."""

    async def names_in(self, folder: str) -> Sequence[str]:
        del folder
        return ()

    async def drop_empty(self, folders: Sequence[str]) -> None:
        """There are no folders here."""
