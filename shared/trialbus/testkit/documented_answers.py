"""Whether an answer is what the OpenAPI document says it is."""

import json
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator


class Undocumented(AssertionError):
    """What the document does not tell of, or tells otherwise."""


class DocumentedAnswers:
    """document: OpenAPI 3.1."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._validator = lru_cache(maxsize=None)(self._made)

    def check(
        self, method: str, path: str, *, status: int, content_type: str, content: bytes
    ) -> None:
        """path: as the document has it. Raises Undocumented."""
        told = self._document["paths"][path][method.lower()]["responses"]
        where = f"{method} {path}: {status}"
        if str(status) not in told:
            raise Undocumented(f"{where} {content[:300]!r}")
        media_type = content_type.partition(";")[0]
        if media_type not in told[str(status)]["content"]:
            raise Undocumented(f"{where} is {media_type}")
        if media_type != "application/json":
            return
        validator = self._validator(method.lower(), path, str(status))
        for error in validator.iter_errors(json.loads(content)):
            raise Undocumented(f"{where} at {error.json_path}: {error.message[:500]}")

    def _made(self, method: str, path: str, status: str) -> Draft202012Validator:
        told = self._document["paths"][path][method]["responses"][status]
        schema = told["content"]["application/json"]["schema"]
        return Draft202012Validator({**schema, "components": self._document["components"]})
