"""The scraper sends the headers of the spec."""

import asyncio

from trialbus_trial_launcher.adapters.scraper import Scraper


async def test_the_headers_of_the_spec_are_sent() -> None:
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nloss 0.5\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scraper = Scraper()
    headers = [("Authorization", "Bearer x"), ("X-Twice", "1"), ("X-Twice", "2")]
    try:
        body = await scraper.get(f"http://127.0.0.1:{port}/metrics", headers)
    finally:
        await scraper.close()
        server.close()
        await server.wait_closed()
    assert body == b"loss 0.5\n"
    [request] = asked
    lines = request.lower().splitlines()
    assert lines[0] == "get /metrics http/1.1"
    for name, value in headers:
        assert f"{name}: {value}".lower() in lines
