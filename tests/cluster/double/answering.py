"""HTTP in front of the objects: one handler, faults on the way in and out."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic_core import to_json
from tests.cluster.double import errors
from tests.cluster.double.access import Access
from tests.cluster.double.calls import Call, body_of, call_of
from tests.cluster.double.discovery import VERSION, discovered
from tests.cluster.double.errors import ApiError, NoSuchPath
from tests.cluster.double.faults import WATCH_FAULTS, Fault, Faults
from tests.cluster.double.objects import Objects
from tests.cluster.double.reading import encoded, list_json, listed
from tests.cluster.double.state import Stored, key_of
from tests.cluster.double.tables import list_table, object_table, wants_table
from tests.cluster.double.watches import BOOKMARK_EVERY_S, Watch

Object = dict[str, Any]
# Raises ApiError before anything is sent.
LogReader = Callable[[Call], AsyncIterator[bytes] | None]
# Namespace and name of a pod, and how it is to be deleted.
Drain = Callable[[str, str, Object], None]
# Answers in the place of the double; with the request's body.
Elsewhere = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]
_JSON = "application/json"


@dataclass(slots=True)
class Stats:
    """requests: by (verb, resource); answers: by code."""

    requests: "Counter[tuple[str, str]]" = field(default_factory=Counter)
    answers: "Counter[int]" = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.requests.total()


class _Broken(Exception):
    """The connection ends without an answer."""


@dataclass(slots=True)
class Answering:
    """elsewhere_groups: API groups whose objects another server has."""

    objects: Objects
    faults: Faults
    access: Access
    read_log: LogReader
    drain: Drain
    stats: Stats = field(default_factory=Stats)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    watches: set[Watch] = field(default_factory=set)
    bookmark_every_s: float = BOOKMARK_EVERY_S
    elsewhere: Elsewhere | None = None
    elsewhere_groups: frozenset[str] = frozenset()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._answer(request)
        except ApiError as error:
            answer = _failure(error)
        except NoSuchPath as error:
            answer = web.Response(text=f"{error}\n", status=404)
        except _Broken:
            if request.transport is not None:
                request.transport.abort()
            answer = web.Response(status=500)
        self.stats.answers[answer.status] += 1
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/version":
            return _json(to_json(VERSION))
        if path in ("/healthz", "/readyz", "/livez"):
            return web.Response(text="ok")
        self.access.check_token(request.headers.get("Authorization", ""))
        accept = request.headers.get("Accept", "")
        found = discovered(self.objects.registry, path, accept)
        if found is not None:
            self.stats.requests["get", "discovery"] += 1
            return web.Response(body=to_json(found[0]), headers={"Content-Type": found[1]})
        call = call_of(self.objects.registry, request.method, path, request.query)
        self.stats.requests[call.verb, call.resource] += 1
        self.access.check(call)
        fault = self.faults.strikes(call.verb, call.resource, call.name)
        data = await request.read() if request.can_read_body else b""
        if fault is not None:
            await self._before(fault)
        if self.elsewhere is not None and call.kind.group in self.elsewhere_groups:
            return await self.elsewhere(request, data)
        if call.verb == "watch":
            return await self._watch(request, call, fault, accept)
        if call.subresource == "log":
            return await self._log(request, call)
        answer = self._effect(call, request, data, fault, accept)
        if fault is not None:
            await self._after(fault, call, answer)
        return answer

    # -- faults

    async def _before(self, fault: Fault) -> None:
        if fault.kind == "compact":
            self.objects.state.compact()
        if fault.moment == "before":
            await self._struck(fault, "")

    async def _after(self, fault: Fault, call: Call, answer: web.Response) -> None:
        if fault.moment == "after" and answer.status < 400:
            await self._struck(fault, call.name or _name_in(answer), call)

    async def _struck(self, fault: Fault, name: str, call: Call | None = None) -> None:
        if fault.kind == "hold":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), fault.hold_s)
            raise _Broken
        if fault.kind == "reset":
            raise _Broken
        if fault.kind == "status":
            if fault.code == 409 and call is not None and call.verb == "create":
                raise errors.already_exists(call.kind.group, call.kind.plural, name)
            raise _injected(fault)

    # -- what the verbs answer

    def _effect(
        self,
        call: Call,
        request: web.BaseRequest,
        data: bytes,
        fault: Fault | None,
        accept: str,
    ) -> web.Response:
        objects, target = self.objects, call.target()
        objects.warnings.clear()
        media_type = request.content_type if "Content-Type" in request.headers else _JSON
        code = 200
        if call.verb == "get":
            stored = objects.stored(target)
        elif call.verb == "list":
            back = fault.events_back if fault is not None and fault.kind == "stale" else 0
            return self._list(call, accept, back)
        elif call.verb == "create":
            body = body_of(data, media_type)
            if (review := self.access.review(call, body)) is not None:
                return _json(to_json(review), 201)
            if call.subresource == "eviction":
                return self._evict(call, body)
            stored, code = objects.create(target, body), 201
        elif call.verb == "update":
            stored = objects.update(target, body_of(data, media_type))
        elif call.verb == "patch":
            there = (call.namespace, call.name) in objects.shelf(call.kind).objects
            body = body_of(data, media_type)
            stored = objects.patch(target, media_type, body, force=call.flag("force"))
            code = 200 if there else 201
        elif call.verb == "delete":
            return self._delete(call, _options(call, body_of(data, media_type)))
        else:
            return self._delete_all(call, _options(call, body_of(data, media_type)))
        return self._object(call, stored, accept, code)

    def _object(self, call: Call, stored: Stored, accept: str, code: int) -> web.Response:
        if wants_table(accept):
            body = object_table(call, stored, self.objects.now())
        else:
            body = encoded(call, stored)
        return _json(body, code, self.objects.warnings)

    def _list(self, call: Call, accept: str, events_back: int) -> web.Response:
        shelf = self.objects.shelf(call.kind)
        result = listed(self.objects.state, shelf, call, events_back=events_back)
        if wants_table(accept):
            return _json(list_table(call, result, self.objects.now()))
        return _json(list_json(call, result))

    def _delete(self, call: Call, options: Object) -> web.Response:
        stored = self.objects.delete(call.target(), options)
        meta = stored.obj["metadata"]
        warnings = []
        if call.kind.qualified == "jobs.batch" and "propagationPolicy" not in options:
            text = "child pods are preserved by default when jobs are deleted; set"
            more = "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to"
            warnings = [f"{text} {more} suppress this warning"]
        still = (call.namespace, call.name) in self.objects.shelf(call.kind).objects
        if still or call.kind.plural == "pods":
            return _json(encoded(call, stored), 200, warnings)
        details = {"name": meta["name"], "kind": call.kind.plural, "uid": meta["uid"]}
        if call.kind.group:
            details["group"] = call.kind.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return _json(to_json({**status, "details": details}), 200, warnings)

    def _evict(self, call: Call, body: Object) -> web.Response:
        self.objects.stored(call.target())
        self.drain(call.namespace, call.name, (body.get("deleteOptions") or {}))
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return _json(to_json({**status, "code": 201}), 201)

    def _delete_all(self, call: Call, options: Object) -> web.Response:
        result = listed(self.objects.state, self.objects.shelf(call.kind), call)
        for stored in result.items:
            namespace, name = key_of(stored.obj)
            one = Call(
                verb="delete",
                kind=call.kind,
                version=call.version,
                namespace=namespace,
                name=name,
                subresource="",
                query=call.query,
            )
            self.objects.delete(one.target(), options)
        return _json(list_json(call, result))

    # -- what stays open

    async def _watch(
        self, request: web.BaseRequest, call: Call, fault: Fault | None, accept: str
    ) -> web.StreamResponse:
        state, now = self.objects.state, self.objects.now

        def as_table(call: Call, stored: Stored) -> bytes:
            return object_table(call, stored, now())

        encode = as_table if wants_table(accept) else encoded
        watch = Watch(state, self.objects.shelf(call.kind), call, encode)
        watch.begin()
        faulty = fault if fault is not None and fault.kind in WATCH_FAULTS else None
        lines = watch.lines(faulty, self.bookmark_every_s)
        self.watches.add(watch)
        try:
            return await _streamed(request, lines, _JSON)
        finally:
            self.watches.discard(watch)
            watch.detach()

    async def _log(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        chunks = self.read_log(call)
        if chunks is None:
            return web.Response(status=204)
        return await _streamed(request, chunks, "text/plain")


async def _streamed(
    request: web.BaseRequest, chunks: AsyncIterator[bytes], media_type: str
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": media_type})
    response.enable_chunked_encoding()
    # A client that goes away is no error.
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
    return response


def _options(call: Call, body: Any) -> Object:
    """DeleteOptions of the body, and of the query where the body has none."""
    options = dict(body) if isinstance(body, dict) else {}
    if policy := call.query.get("propagationPolicy"):
        options.setdefault("propagationPolicy", policy)
    if grace := call.query.get("gracePeriodSeconds"):
        options.setdefault("gracePeriodSeconds", int(grace))
    if options.get("orphanDependents") is True:
        options.setdefault("propagationPolicy", "Orphan")
    return options


def _json(body: bytes, code: int = 200, warnings: list[str] | None = None) -> web.Response:
    answer = web.Response(body=body, status=code, content_type=_JSON)
    for text in warnings or ():
        answer.headers.add("Warning", "299 - " + json.dumps(text))
    return answer


def _failure(error: ApiError) -> web.Response:
    answer = web.Response(body=to_json(error.status), status=error.code, content_type=_JSON)
    answer.headers.update(error.headers)
    return answer


_REASONS = {
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def _injected(fault: Fault) -> ApiError:
    headers = {}
    if fault.retry_after_s is not None:
        headers["Retry-After"] = str(fault.retry_after_s)
    reason = fault.reason or _REASONS.get(fault.code, "Unknown")
    return ApiError(fault.code, reason, fault.message, headers=headers)


def _name_in(answer: web.Response) -> str:
    body = answer.body
    if not isinstance(body, bytes):
        return ""
    return str(json.loads(body).get("metadata", {}).get("name", ""))
