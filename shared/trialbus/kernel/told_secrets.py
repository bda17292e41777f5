"""What must not be read in a log or a trace is taken out of it, wherever it came from: an address
with a password in the words of a driver's error, a token in a traceback, a field of ours."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
# Deeper than any line of ours; what lies below is hidden rather than looked at.
_MAX_DEPTH = 6

_SECRET_NAME = re.compile(
    r"(?:token|authorization|passwo?r?d|passphrase|secret|seed|api[-_]?key|private[-_]?key"
    r"|credentials?|cookie)$",
    re.IGNORECASE,
)
# Each alternative keeps what stands in its group `k...`, if it has one, and hides the rest.
_SECRET_TEXT = re.compile(
    r"""
    (?P<k_bearer>\b[Bb]earer\s+)[\w.~+/=-]{6,}
  | (?P<k_header>\b[Aa]uthorization['"]?\s*[:=]\s*['"]?(?:[A-Za-z]+\s+)?)[\w.~+/=-]{6,}
  | (?P<k_own>\b(?:tbs|tbt|whsec)_)[\w.~+/=-]{6,}             # tokens and webhook secrets of ours
  | (?P<k_url>://[^\s/:@'"]*:)[^\s/@'"]+(?=@)                  # user:password@host
  | (?P<k_nats>\b(?:nats|tls)://)[^\s/:@'"]+(?=@)              # token@host
  | (?P<k_field>\b(?:password|passwd|pwd|client_secret|access_token|refresh_token|api_?key)
        ['"]?\s*[=:]\s*['"]?)[^\s'",;&)}\]]+
  | \bS[ACNOUX][A-Z2-7]{56}\b                                  # seed of an NKey
  | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*                          # JSON Web Token
  | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)


def clean_text(text: str) -> str:
    """`text` without what looks like a secret."""
    return _SECRET_TEXT.sub(_hidden, text)


def clean_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a line, the nested ones too."""
    return {name: _clean(name, value, 0) for name, value in fields.items()}


def clean_other(value: object) -> str:
    """What JSON has no form for, as text."""
    return clean_text(str(value))


def _hidden(match: re.Match[str]) -> str:
    kind = match.lastgroup
    return HIDDEN if kind is None else match[kind] + HIDDEN


def _clean(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if depth >= _MAX_DEPTH:
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", item, depth + 1) for item in value]
    return clean_other(value)
