"""Asking real endpoints: bodies, and why there is none; ports for them."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_SCRAPE_BYTES
from trialbus_trial_launcher.adapters.local_process import FreePorts
from trialbus_trial_launcher.adapters.scraper import Scraper
from trialbus_trial_launcher.core.scrapes import Unusable


@pytest.fixture
async def scraper() -> AsyncIterator[Scraper]:
    scraper = Scraper()
    yield scraper
    await scraper.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Answers with what the path says: a status and a number of bytes; /hang never does, and
    /short is less than it says."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readline()).decode().split()[1].strip("/").split("/")
        if words[0] == "hang":
            await reader.read()
        elif words[0] == "short":
            writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nx")
        else:
            body = b"x" * int(words[1])
            writer.write(f"HTTP/1.1 {words[0]} x\r\nConnection: close\r\n\r\n".encode() + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.close()


async def test_the_body_is_given(scraper: Scraper, url: str) -> None:
    assert await scraper.get(f"{url}/200/5", ()) == b"xxxxx"


async def test_why_there_is_no_body_is_said(
    scraper: Scraper, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unusable, match=r"it answered with status 503"):
        await scraper.get(f"{url}/503/5", ())
    with pytest.raises(Unusable, match="its answer broke off: "):
        await scraper.get(f"{url}/short", ())
    with pytest.raises(Unusable, match=f"its answer is longer than {MAX_SCRAPE_BYTES} bytes"):
        await scraper.get(f"{url}/200/{MAX_SCRAPE_BYTES + 1}", ())
    with pytest.raises(Transient, match=r"no answer: All connection attempts failed"):
        await scraper.get(f"http://127.0.0.1:{FreePorts().take()}/metrics", ())
    with pytest.raises(Transient, match="no answer: "):
        await scraper.get("http://[/metrics", ())
    monkeypatch.setattr("trialbus_trial_launcher.adapters.scraper.SCRAPE_TIMEOUT_S", 0.05)
    with pytest.raises(Transient, match=r"no answer in 0\.05 s"):
        await scraper.get(f"{url}/hang", ())


def test_ports_are_free_and_never_the_same_one_soon() -> None:
    ports = FreePorts()
    given = [ports.take() for _ in range(50)]
    assert len(set(given)) == 50
    with socket.socket() as taken:
        taken.bind(("", given[-1] + 1))
        taken.listen()
        assert ports.take() != given[-1] + 1
