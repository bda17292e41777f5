"""The file of static bearer tokens: who they are, never the tokens themselves.

A token is 256 random bits, so a plain SHA-256 of it says nothing about it; the file need not be
secret, but must not be written by strangers.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.types import StringConstraints

from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.access import EVERY_NAMESPACE, GIVEN_ROLES, Role
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.ids import is_name

# Says what it is to scanners for secrets, and to whoever finds one.
TOKEN_PREFIX = "tbs_"

TokenName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?$")]


class StaticToken(BaseModel):
    """One bearer. sha256: of the token's text, in hex. namespaces: a list, or `*`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: TokenName
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    role: Role
    namespaces: tuple[str, ...] | Literal["*"]
    expires: AwareDatetime | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.role not in GIVEN_ROLES:
            raise ValueError(f"role: one of {', '.join(GIVEN_ROLES)}")
        if not self.namespaces:
            raise ValueError(f"namespaces: at least one, or {EVERY_NAMESPACE}")
        for namespace in () if self.namespaces == EVERY_NAMESPACE else self.namespaces:
            if not is_name(namespace):
                raise ValueError(f"namespaces: {namespace!r:.80} is not a name")
        return self

    def is_expired(self, now: float) -> bool:
        """now: seconds since the epoch."""
        return self.expires is not None and self.expires.timestamp() <= now


class _TokenFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[StaticToken, ...] = Field(default=())


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_tokens(data: bytes) -> tuple[StaticToken, ...]:
    """YAML or JSON. Raises Refused with every problem; none of them quotes a value."""
    if not data.strip():
        return ()
    document = load_document(data)
    try:
        tokens = _TokenFile.model_validate(document).tokens
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise Refused(
            [Problem(field=".".join(map(str, it["loc"])), message=it["msg"]) for it in found]
        ) from None
    for what in ("name", "sha256"):
        values = [getattr(token, what) for token in tokens]
        if len(set(values)) < len(values):
            raise Refused([Problem(field="tokens", message=f"two have the same {what}")])
    return tokens


def write_tokens(tokens: Sequence[StaticToken]) -> bytes:
    """As YAML. Law: `read_tokens` gives them back."""
    entries: list[dict[str, Any]] = []
    for token in tokens:
        entry: dict[str, Any] = {
            "name": token.name,
            "sha256": token.sha256,
            "role": token.role.value,
            "namespaces": EVERY_NAMESPACE
            if token.namespaces == EVERY_NAMESPACE
            else list(token.namespaces),
        }
        if token.expires is not None:
            entry["expires"] = token.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entries.append(entry)
    return yaml.safe_dump({"tokens": entries}, sort_keys=False).encode()


def expiry_after(now: float, lasting_s: float) -> datetime:
    """now: seconds since the epoch."""
    return datetime.fromtimestamp(int(now + lasting_s), tz=UTC)
