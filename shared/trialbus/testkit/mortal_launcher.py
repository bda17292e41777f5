"""A launcher whose process may be killed at each of its calls into the place where runs execute."""

from collections.abc import Sequence

from trialbus.ports.launcher import Launcher, Plan, PrivateFile, RunStatus
from trialbus.testkit.world import Life, World, never


class MortalLauncher:
    """Passes calls on while its process lives; before and after each it may die."""

    def __init__(self, inner: Launcher, world: World, life: Life) -> None:
        self._inner = inner
        self._world = world
        self._life = life

    async def start(self, plans: Sequence[Plan]) -> None:
        for plan in plans:
            await self._pass()
            await self._inner.start([plan])
        await self._pass()

    async def take_over(self, plans: Sequence[Plan]) -> None:
        await self._pass()
        await self._inner.take_over(plans)
        await self._pass()

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        await self._pass()
        found = await self._inner.status(run_ids)
        await self._pass()
        return found

    async def stop(self, run_id: str, *, reason: str, grace_s: float) -> None:
        await self._pass()
        await self._inner.stop(run_id, reason=reason, grace_s=grace_s)
        await self._pass()

    async def ended(self, *, timeout_s: float) -> Sequence[str]:
        found = await self._inner.ended(timeout_s=timeout_s)
        await self._pass()
        return found

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        await self._pass()
        return await self._inner.read(run_id, from_byte, max_bytes)

    async def tail(self, run_id: str, max_bytes: int) -> bytes:
        await self._pass()
        return await self._inner.tail(run_id, max_bytes)

    async def address(self, run_id: str) -> str:
        return await self._inner.address(run_id)

    async def private_files(self, run_id: str, folder: str) -> Sequence[PrivateFile]:
        await self._pass()
        return await self._inner.private_files(run_id, folder)

    async def read_private(self, run_id: str, path: str, from_byte: int, max_bytes: int) -> bytes:
        await self._pass()
        return await self._inner.read_private(run_id, path, from_byte, max_bytes)

    async def read_kept(self, run_id: str, name: str, from_byte: int, max_bytes: int) -> bytes:
        await self._pass()
        return await self._inner.read_kept(run_id, name, from_byte, max_bytes)

    async def keep(self, run_id: str, name: str, at_byte: int, data: bytes) -> bool:
        await self._pass()
        kept = await self._inner.keep(run_id, name, at_byte, data)
        await self._pass()
        return kept

    async def forget(self, run_ids: Sequence[str]) -> None:
        await self._pass()
        await self._inner.forget(run_ids)
        await self._pass()

    async def forget_checkpoints(self, folder: str) -> None:
        await self._pass()
        await self._inner.forget_checkpoints(folder)
        await self._pass()

    async def names_in(self, folder: str) -> Sequence[str]:
        return await self._inner.names_in(folder)

    async def drop_empty(self, folders: Sequence[str]) -> None:
        await self._inner.drop_empty(folders)

    async def tidy(self, run_ids: Sequence[str]) -> None:
        await self._pass()
        await self._inner.tidy(run_ids)
        await self._pass()

    async def close(self) -> None:
        await self._inner.close()

    async def _pass(self) -> None:
        await self._world.passing(self._life.key)
        if self._life.gone:
            await never()
