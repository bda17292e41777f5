"""Asking trials' endpoints for their metrics over HTTP."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_SCRAPE_BYTES, SCRAPE_TIMEOUT_S
from trialbus_trial_launcher.core.scrapes import Unusable

_HEADERS = {"Accept": "text/plain;version=0.0.4;q=1,*/*;q=0.1"}


class Scraper:
    """Certificates are not checked, as Kubernetes does not where it asks a container: they are the
    trial's own."""

    def __init__(self) -> None:
        self._client: Any = None

    async def get(self, url: str, headers: Sequence[tuple[str, str]]) -> bytes:
        """The body. Raises Transient, saying why there is none; Unusable where there was an
        answer. headers: besides our own."""
        # It loads slowly, and only few experiments need it.
        import httpx  # noqa: PLC0415

        if self._client is None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._client = httpx.AsyncClient(
                headers=_HEADERS, timeout=SCRAPE_TIMEOUT_S, trust_env=False, verify=context
            )
        try:
            async with (
                asyncio.timeout(SCRAPE_TIMEOUT_S),
                self._client.stream("GET", url, headers=list(headers)) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise Unusable(f"it answered with status {answer.status_code}")
                try:
                    return await _body(answer)
                except httpx.HTTPError as error:
                    raise Unusable(f"its answer broke off: {_said(error)}") from error
        except TimeoutError:
            raise Transient(f"no answer in {SCRAPE_TIMEOUT_S:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Transient(f"no answer: {_said(error)}") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


async def _body(answer: Any) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > MAX_SCRAPE_BYTES:
            raise Unusable(f"its answer is longer than {MAX_SCRAPE_BYTES} bytes")
    return bytes(body)
