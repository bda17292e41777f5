"""The double of an API server with custom resources that are real: what concerns them is passed on
to Kubernetes' own server. Nobody collects there what has lost its owner."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from aiohttp import web
from tests.cluster.definitions.server import (
    CRDS,
    WHERE_BUILT,
    Definitions,
    running_definitions,
)
from tests.cluster.double.server import Double, running_double
from yarl import URL

from trialbus.testkit.waits import until_sync

Object = dict[str, Any]
GROUPS = frozenset({"apiextensions.k8s.io", "kubeflow.org"})
# A server of custom resources of its own, or Kubernetes' own, where it is built.
TARGETS = ("double", WHERE_BUILT)
SERVED_WITHIN_S = 20.0
_PASSED_ON = ("Accept", "Content-Type")
_PASSED_BACK = ("Content-Type", "Warning")


class Beside(Double):
    """Its own methods act on the server's objects, too, where they are of GROUPS."""

    def __init__(self, folder: Path, definitions: Definitions, http: httpx.Client) -> None:
        super().__init__(folder)
        self._url, self._http = definitions.url, http
        self.answering.elsewhere = self._pass_on
        self.answering.elsewhere_groups = GROUPS

    async def _pass_on(self, request: web.BaseRequest, data: bytes) -> web.StreamResponse:
        url = URL(f"{self._url}{request.raw_path}", encoded=True)
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        trusting = aiohttp.TCPConnector(ssl=_whatever_certificate())
        async with (
            aiohttp.ClientSession(connector=trusting) as session,
            session.request(request.method, url, data=data, headers=headers) as theirs,
        ):
            told = [(name, theirs.headers[name]) for name in _PASSED_BACK if name in theirs.headers]
            ours = web.StreamResponse(status=theirs.status, headers=dict(told))
            ours.enable_chunked_encoding()
            await ours.prepare(request)
            async for chunk in theirs.content.iter_any():
                await ours.write(chunk)
            await ours.write_eof()
            return ours

    def create(self, obj: Object, namespace: str = "") -> Object:
        if obj["kind"] == "CustomResourceDefinition":
            # The double tells what is served.
            super().create(obj)
            self._call("POST", CRDS, json=obj)
            group, version = obj["spec"]["group"], obj["spec"]["versions"][0]["name"]
            place = f"/apis/{group}/{version}/{obj['spec']['names']['plural']}"
            until_sync(
                lambda: self._http.get(place).status_code == 200,
                f"{place} is served",
                within_s=SERVED_WITHIN_S,
            )
            return obj
        kind = self.registry.by_kind(obj["apiVersion"], obj["kind"])
        assert kind is not None, obj["kind"]
        if kind.group not in GROUPS:
            return super().create(obj, namespace)
        home = namespace or obj["metadata"].get("namespace") or "default"
        place = self._place(kind.qualified, home)
        made: Object = self._call("POST", place, json=obj, params={"fieldValidation": "Strict"})
        return made

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        if self._kind(kind).group not in GROUPS:
            return super().get(kind, namespace, name)
        answer = self._http.get(f"{self._place(kind, namespace)}/{name}")
        found: Object | None = None if answer.status_code == 404 else answer.json()
        return found

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        if self._kind(kind).group not in GROUPS:
            return super().list(kind, namespace)
        items: list[Object] = self._call("GET", self._place(kind, namespace))["items"]
        return items

    def set_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        place = f"{self._place(kind, namespace)}/{name}/status"
        headers = {"Content-Type": "application/merge-patch+json"}
        written: Object = self._call("PATCH", place, json={"status": status}, headers=headers)
        return written

    def delete(self, kind: str, namespace: str, name: str, policy: str = "Background") -> None:
        if self._kind(kind).group not in GROUPS:
            super().delete(kind, namespace, name, policy)
            return
        self._call("DELETE", f"{self._place(kind, namespace)}/{name}")

    def _place(self, kind: str, namespace: str | None) -> str:
        found = self._kind(kind)
        home = f"namespaces/{namespace}/" if namespace else ""
        return f"/apis/{found.group}/{found.storage}/{home}{found.plural}"

    def _call(self, method: str, place: str, **options: Any) -> Any:
        answer = self._http.request(method, place, **options)
        assert answer.status_code < 300, f"{method} {place}: {answer.text}"
        return answer.json()


def _whatever_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextmanager
def running_target(name: str, folder: Path) -> Iterator[Double]:
    """One of TARGETS."""
    if name == "double":
        with running_double(folder) as double:
            yield double
        return
    with running_definitions(folder / "definitions") as running, running.client() as http:
        beside = Beside(folder / "double", running, http)
        beside.start()
        try:
            yield beside
        finally:
            beside.stop()
