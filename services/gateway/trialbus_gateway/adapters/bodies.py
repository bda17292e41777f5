"""Reading what clients send: bounded, and strictly JSON."""

import asyncio
import json
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from trialbus.kernel.limits import MAX_JSON_DEPTH, MAX_JSON_NODES, MAX_YAML_BYTES
from trialbus_gateway.app.failures import TooLarge, TooSlow, Unreadable

MAX_BODY_BYTES = MAX_YAML_BYTES
# From the first byte to the last.
BODY_DEADLINE_S = 30.0
MAX_ID_CHARS = 128
# Linux takes no longer path.
MAX_PATH_CHARS = 4096
_ID_PATTERN = r"^[!-~]+$"


class CommandNames(BaseModel):
    """The id of a command, and the experiment that it is meant for."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: str | None = Field(None, min_length=1, max_length=MAX_ID_CHARS, pattern=_ID_PATTERN)
    uid: str | None = Field(None, min_length=1, max_length=MAX_ID_CHARS, pattern=_ID_PATTERN)


class ApplyBody(CommandNames):
    object: dict[str, Any]
    working_dir: str | None = Field(
        None, alias="workingDir", pattern=r"^/[^\x00]*$", max_length=MAX_PATH_CHARS
    )


async def apply_body(request: Request) -> ApplyBody:
    """Raises TooLarge, Unreadable."""
    parsed = strict_json(await limited(request))
    try:
        return ApplyBody.model_validate(parsed)
    except ValidationError as error:
        raise Unreadable(_told(error)) from error


def command_names(request: Request) -> CommandNames:
    """Of a call without a body, from its query. Raises Unreadable."""
    query = {name: value for name, value in request.query_params.items() if name in ("id", "uid")}
    try:
        return CommandNames.model_validate(query)
    except ValidationError as error:
        raise Unreadable(_told(error)) from error


def flag(request: Request, name: str) -> bool:
    """Absent is false. Raises Unreadable."""
    text = request.query_params.get(name, "false").lower()
    if text not in ("", "true", "1", "false", "0"):
        raise Unreadable(f"{name}: neither true nor false: {text[:100]!r}")
    return text not in ("false", "0")


def count(request: Request, name: str, most: int) -> int | None:
    """Raises Unreadable."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or int(text) > most:
        raise Unreadable(f"{name}: not a number from 0 to {most}: {text[:100]!r}")
    return int(text)


async def limited(request: Request) -> bytes:
    """Whatever the client says of its size, no more than the limit is kept, and it must all be
    here in time. Raises TooLarge, TooSlow."""
    pieces, size = [], 0
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for piece in request.stream():
                size += len(piece)
                if size > MAX_BODY_BYTES:
                    raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
                pieces.append(piece)
    except TimeoutError:
        raise TooSlow(f"the body was not here within {BODY_DEADLINE_S:g} s") from None
    return b"".join(pieces)


def strict_json(body: bytes) -> Any:
    """Raises Unreadable: no JSON, or more depth or values than are taken."""
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the body is not JSON: {error}") from error
    _check_size(found)
    return found


def _check_size(value: Any) -> None:
    """Level by level, so that depth costs no stack. Raises Unreadable."""
    level, count = [value], 1
    for _ in range(MAX_JSON_DEPTH + 1):
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
        ]
        count += len(level)
        if count > MAX_JSON_NODES:
            raise Unreadable(f"the body holds more than {MAX_JSON_NODES} values")
        if not level:
            return
    raise Unreadable(f"the body is nested deeper than {MAX_JSON_DEPTH}")


def _no_constant(name: Literal["NaN", "Infinity", "-Infinity"] | str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _told(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, it['loc'])) or 'body'}: {it['msg']}" for it in found)
