"""The deadline waits of the testkit."""

import pytest

from trialbus.testkit.waits import until, until_sync


async def test_a_wait_ends_when_its_condition_holds() -> None:
    looks = iter([False, False, True, False])
    await until(lambda: next(looks), "the third look")
    assert next(looks) is False


async def test_a_wait_takes_an_async_condition() -> None:
    looks = iter([0, 7])

    async def look() -> int:
        return next(looks)

    await until(look, "a look")
    assert list(looks) == []


async def test_a_wait_says_what_it_missed() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.0 s: the moon"):
        await until(lambda: False, "the moon", within_s=0.0)


def test_a_wait_outside_a_loop_ends_or_says_what_it_missed() -> None:
    looks = iter([False, True])
    until_sync(lambda: next(looks), "the second look")
    with pytest.raises(AssertionError, match="the moon"):
        until_sync(lambda: False, "the moon", within_s=0.0)
