"""A cancelled caller of the store leaves, whatever the driver makes of the cancellation."""

import asyncio

import pytest
from pymongo.errors import ConnectionFailure

from trialbus.adapters.mongo_store.store import _answered
from trialbus.kernel.errors import Transient


async def answered_amid_a_cancellation(error: Exception | None) -> int:
    """As a driver that is cancelled at the moment of its answer."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if error is not None:
            raise error from None
    return 1


@pytest.mark.parametrize("error", [None, ConnectionFailure("cancelled")])
async def test_a_cancellation_that_the_driver_swallows_is_heeded(error: Exception | None) -> None:
    task = asyncio.create_task(_answered(answered_amid_a_cancellation(error)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_cleans_up_after_a_cancellation_still_gets_answers() -> None:
    async def one() -> int:
        return 1

    async def away() -> int:
        raise ConnectionFailure("gone")

    async def cleaning_up() -> int:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            with pytest.raises(Transient):
                await _answered(away())
            return await _answered(one())
        raise AssertionError("it was cancelled")

    task = asyncio.create_task(cleaning_up())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == 1
