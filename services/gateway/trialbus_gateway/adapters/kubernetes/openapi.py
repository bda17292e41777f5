"""The schemas, for clients that check or explain."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialbus.contracts.katib.openapi import openapi_v2, openapi_v3
from trialbus_gateway.adapters.answers_json import JsonAnswer, to_json
from trialbus_gateway.adapters.kubernetes.core_schemas import core_openapi_v3
from trialbus_gateway.adapters.kubernetes.status_objects import not_acceptable, path_not_found

Json = Any

_ROOT = "/openapi/v3"
_JSON = ("application/json", "application/*", "*/*")
# Clients ask with an @, which no Content-Type may have.
_SWAGGER_PROTOBUF_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_SWAGGER_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# gnostic's message `openapi.v2.Document` that describes nothing: swagger (1) is "2.0", and info (2)
# has title (1) and version (2). kubectl wants it for kinds that v3 lacks; without it, it would
# complain of the content type instead of saying that there is no such kind.
_EMPTY_SWAGGER = b"\x0a\x032.0" + b"\x12\x11" + b"\x0a\x08trialbus" + b"\x12\x05empty"
# The address of a document holds its hash: another document is at another address.
_FOREVER = {"cache-control": "public, immutable", "vary": "Accept"}
_A_YEAR_OFF = "Fri, 31 Dec 2049 23:59:59 GMT"


class OpenApi:
    def routes(self) -> list[Route]:
        return [
            Route(_ROOT, self._index),
            Route(f"{_ROOT}/{{path:path}}", self._v3),
            Route("/openapi/v2", self._v2),
        ]

    async def _index(self, _request: Request) -> Response:
        paths = {
            path: {"serverRelativeURL": f"{_ROOT}/{path}?hash={digest}"}
            for path, (_, digest) in _documents().items()
        }
        return JsonAnswer({"paths": paths})

    async def _v3(self, request: Request) -> Response:
        found = _documents().get(request.path_params["path"])
        if found is None:
            raise path_not_found()
        _accept_json(request)
        content, digest = found
        headers = {"etag": f'"{digest}"', "vary": "Accept"}
        asked = request.query_params.get("hash")
        if asked == digest:
            headers |= {**_FOREVER, "expires": _A_YEAR_OFF}
        elif asked is not None:
            # An old address leads to the new one.
            where = f"{request.url.path}?hash={digest}"
            return Response(status_code=301, headers={"location": where})
        if request.headers.get("if-none-match") == f'"{digest}"':
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    async def _v2(self, request: Request) -> Response:
        """The schemas as JSON; as protobuf a document without any: these are in v3."""
        vary = {"vary": "Accept"}
        asked = request.headers.get("accept", "").split(",")[0].strip()
        if asked in (_SWAGGER_PROTOBUF_ASKED, _SWAGGER_PROTOBUF):
            return Response(_EMPTY_SWAGGER, media_type=_SWAGGER_PROTOBUF, headers=vary)
        _accept_json(request)
        return JsonAnswer(openapi_v2(), headers=vary)


@cache
def _documents() -> Mapping[str, tuple[bytes, str]]:
    """By path, as bytes and the hash of them."""
    made: dict[str, Json] = {
        "api/v1": core_openapi_v3(),
        "apis/kubeflow.org/v1beta1": openapi_v3(),
    }
    contents = {path: to_json(document) for path, document in made.items()}
    return {
        path: (content, hashlib.sha256(content).hexdigest().upper())
        for path, content in contents.items()
    }


def _accept_json(request: Request) -> None:
    """Raises StatusFailure 406."""
    accept = request.headers.get("accept", "")
    clauses = [clause.split(";")[0].strip() for clause in accept.split(",")]
    if accept.strip() and not any(clause in _JSON for clause in clauses):
        raise not_acceptable(["application/json"])
