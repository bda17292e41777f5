"""The real clock and real ids."""

import asyncio
import time
import uuid


class SystemClock:
    def now(self) -> float:
        return round(time.time(), 3)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class RandomIds:
    def new_id(self) -> str:
        return str(uuid.uuid4())
