"""Webhooks' side of HTTP, and the operator's file. Loaded only where there is such a file."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import certifi
import httpx

from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.errors import Problem, Refused
from trialbus_gateway.app.webhook_sending import Post, Target
from trialbus_gateway.core.webhook_retries import Answer
from trialbus_gateway.core.webhook_settings import WebhookSettings, read_webhooks
from trialbus_gateway.core.webhook_signatures import read_secrets

_USER_AGENT = "trialbus-webhooks/1"
_MAX_CONNECTIONS = 200


@asynccontextmanager
async def posting() -> AsyncIterator[Post]:
    """Only where the file points: no redirects, no proxies or credentials from the environment.
    Of an answer only the status and Retry-After are read."""
    # It would write every URL, and a URL may hold a secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=20)
    # Those of the system, and SSL_CERT_FILE, beside the usual ones.
    certificates = ssl.create_default_context(cafile=certifi.where())
    certificates.load_default_certs()
    async with httpx.AsyncClient(
        verify=certificates,
        follow_redirects=False,
        trust_env=False,
        limits=limits,
        headers={"user-agent": _USER_AGENT},
    ) as client:

        async def post(
            url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
        ) -> Answer:
            try:
                async with (
                    asyncio.timeout(timeout_s),
                    client.stream(
                        "POST", url, content=body, headers=dict(headers), timeout=timeout_s
                    ) as answer,
                ):
                    asked = answer.headers.get("retry-after", "")
                    return Answer(status=answer.status_code, retry_after=asked[:100])
            except (TimeoutError, httpx.TimeoutException):
                return Answer(status=0, why=f"no answer in {timeout_s:g} s")
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                # Its text may hold the URL, and that a secret.
                return Answer(status=0, why=f"no connection ({type(error).__name__})")

        yield post


async def load_targets(file: Path) -> Sequence[Target]:
    """The file and the secrets that it names, as they are now. Raises Refused."""
    return await asyncio.to_thread(_load, file)


def _load(file: Path) -> Sequence[Target]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _refused("", f"cannot be read: {error.strerror}") from error
    webhooks = read_webhooks(load_document(content))
    return [Target(settings=it, secrets=_secrets(file.parent, it)) for it in webhooks]


def _secrets(folder: Path, webhook: WebhookSettings) -> tuple[bytes, ...]:
    """A relative name is meant beside the file."""
    where = f"webhooks.{webhook.name}.secret_file"
    try:
        return read_secrets((folder / webhook.secret_file).read_text(encoding="ascii"))
    except OSError as error:
        raise _refused(where, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refused(where, "is no text") from error
    except ValueError as error:
        raise _refused(where, str(error)) from error


def _refused(field: str, message: str) -> Refused:
    return Refused([Problem(field=field, message=message)])
