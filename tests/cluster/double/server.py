"""The double of a Kubernetes API server: a thread of this process with an event loop of its own.

So asynchronous tests, synchronous tests and other programs (kubectl, official clients) can all
talk to it over HTTP, and a test talks to `double` itself, whose methods hop to that thread.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop
import yaml
from aiohttp import web
from tests.cluster.double.access import Access
from tests.cluster.double.answering import Answering, Stats
from tests.cluster.double.calls import Call
from tests.cluster.double.faults import Faults
from tests.cluster.double.garbage import Garbage
from tests.cluster.double.jobs import BACKOFF_S, Jobs
from tests.cluster.double.logs import Logs
from tests.cluster.double.objects import Objects, Target
from tests.cluster.double.pods import Pods
from tests.cluster.double.processes import config_data
from tests.cluster.double.resources import Kind, Registry, kind_of_definition
from tests.cluster.double.state import Event, Shelf, State
from tests.cluster.double.timing import Timers
from tests.cluster.double.trainjobs import TrainJobs

Object = dict[str, Any]
T = TypeVar("T")
START_DEADLINE_S = 20.0
NAMESPACES = ("default", "kube-system")


class Double:
    """stepped: time stands still but for `advance`, and controllers act only in `step`."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 0,
        stepped: bool = False,
        token: str = "",
        job_backoff_s: float = BACKOFF_S,
    ) -> None:
        self.folder = folder
        self.stepped = stepped
        letters = random.Random(seed)
        self.state, self.registry = State(), Registry()
        self.timers = Timers(stepped=stepped)
        self.objects = Objects(self.state, self.registry, self.timers.now, letters)
        self.faults, self.access = Faults(), Access(token=token)
        self.logs = Logs(self.timers.now)
        self.pods = Pods(self.objects, self.timers, self.logs, folder / "pods")
        self.jobs = Jobs(self.objects, self.timers, job_backoff_s)
        self.train_jobs = TrainJobs(self.objects)
        self.garbage = Garbage(self.objects)
        self.answering = Answering(
            self.objects, self.faults, self.access, self._read_log, self.pods.drain
        )
        self.pods.hop = self.do
        self.pods.processes.config = self._config_data
        self.state.listeners += [
            self.objects.forget,
            self._definitions,
            self._furnish,
            self.garbage.on_event,
        ]
        self.state.listeners += [self.garbage.namespace_of_event, self.pods.on_event]
        self.state.listeners += [self.jobs.on_event, self.train_jobs.on_event]
        self.state.listeners.append(self._changed)
        self.url = ""
        self.kubeconfig = folder / "kubeconfig"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._settling = False
        self._alarm: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        for name in NAMESPACES:
            self._make_namespace(name)

    # -- life

    def start(self) -> None:
        ready = threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._serve(ready))
            except BaseException as error:  # noqa: BLE001 - the starter raises it
                failures.append(error)
                ready.set()

        self._thread = threading.Thread(target=run, name="kubernetes-double", daemon=True)
        self._thread.start()
        assert ready.wait(START_DEADLINE_S), "the double did not start"
        if failures:
            raise failures[0]
        self._write_kubeconfig()

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_DEADLINE_S)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self.timers.wake = self._schedule
        server = web.Server(self.answering, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._settle()
        ready.set()
        try:
            await self._stop.wait()
        finally:
            self.answering.stopping.set()
            self.end_watches()
            await self.pods.stop()
            await runner.cleanup()

    def _write_kubeconfig(self) -> None:
        user = {"token": self.access.token} if self.access.token else {}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "double", "cluster": {"server": self.url}}],
            "users": [{"name": "double", "user": user}],
            "contexts": [
                {
                    "name": "double",
                    "context": {"cluster": "double", "user": "double", "namespace": "default"},
                }
            ],
            "current-context": "double",
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.write_text(yaml.safe_dump(config))

    # -- controllers

    def _changed(self, shelf: Shelf, event: Event) -> None:
        self._schedule()

    def _schedule(self) -> None:
        if self._loop is None or self._settling or self.stepped:
            return
        self._settling = True
        self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        """All controllers, until none has anything to do; then until the next timer."""
        self._settling = True
        self.timers.run_due()
        while not self.stepped and self._round():
            self.timers.run_due()
        self._settling = False
        due = self.timers.next_at()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None and self._loop is not None and not self.stepped:
            wait_s = max(0.0, due - self.timers.now())
            self._alarm = self._loop.call_later(wait_s, self._schedule)

    def _round(self) -> bool:
        controllers = (self.garbage, self.jobs, self.train_jobs, self.pods)
        # All of them, also when the first already had something to do.
        acted = [controller.step() for controller in controllers]
        return any(acted)

    def _definitions(self, shelf: Shelf, event: Event) -> None:
        if shelf.plural != "customresourcedefinitions":
            return
        kind = kind_of_definition(event.stored.obj)
        if event.happened == "DELETED":
            self.registry.drop(kind.group, kind.plural)
            for key in list(self.state.shelf(kind.group, kind.plural).objects):
                self.state.remove(self.state.shelf(kind.group, kind.plural), key)
        else:
            self.registry.add(kind)

    def _config_data(self, kind: str, namespace: str, name: str) -> dict[str, bytes]:
        plural = "secrets" if kind == "secret" else "configmaps"
        return config_data(self.state.get("", plural, namespace, name))

    def _read_log(self, call: Call) -> AsyncIterator[bytes] | None:
        return self.logs.read(call, self.state.get("", "pods", call.namespace, call.name))

    # -- what a test does; each hops to the double's thread

    def do(self, action: Callable[[], T]) -> T:
        """Run in the double's thread, and wait for it."""
        assert self._loop is not None
        if threading.current_thread() is self._thread:
            return action()

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_DEADLINE_S)

    def step(self, rounds: int = 1) -> bool:
        """One round of every controller; whether anybody did anything."""
        return self.do(lambda: [self._round() for _ in range(rounds)][-1])

    def advance(self, seconds: float) -> None:
        """Of a stepped double: timers and controllers, until `seconds` later."""
        self.do(lambda: self.timers.advance(seconds, self._settle_stepped))

    def settle(self) -> None:
        """Of a stepped double: rounds until nobody has anything to do."""
        self.do(self._settle_stepped)

    def _settle_stepped(self) -> None:
        while self._round():
            pass

    def _kind(self, kind: str) -> Kind:
        for candidate in self.registry.kinds.values():
            if kind in (candidate.kind, candidate.plural, candidate.qualified):
                return candidate
        raise KeyError(kind)

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """kind: `Job`, `jobs` or `jobs.batch`."""

        def read() -> list[Object]:
            shelf = self.objects.shelf(self._kind(kind))
            return [stored.obj for stored in shelf.in_order(namespace)]

        return self.do(read)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        def read() -> Object | None:
            found = self._kind(kind)
            return self.state.get(found.group, found.plural, namespace, name)

        return self.do(read)

    def create(self, obj: Object, namespace: str = "") -> Object:
        """Without HTTP, faults and statistics; checked as any other."""

        def make() -> Object:
            kind = self.registry.by_kind(obj["apiVersion"], obj["kind"])
            assert kind is not None, obj["kind"]
            version = kind.versions[obj["apiVersion"].rpartition("/")[2]]
            place = (namespace or obj["metadata"].get("namespace")) if kind.namespaced else ""
            place = (place or "default") if kind.namespaced else ""
            target = Target(kind=kind, version=version, namespace=place, validation="Strict")
            return self.objects.create(target, obj).obj

        return self.do(make)

    def set_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        """What the controller of a custom resource would write: merged at the first level."""

        def write() -> Object:
            found = self._kind(kind)
            obj = self.state.get(found.group, found.plural, namespace, name)
            assert obj is not None, name
            return self.objects.set_status(found, obj, {**(obj.get("status") or {}), **status})

        return self.do(write)

    def delete(self, kind: str, namespace: str, name: str, policy: str = "Background") -> None:
        def remove() -> None:
            found = self._kind(kind)
            version = found.versions[found.storage]
            target = Target(kind=found, version=version, namespace=namespace, name=name)
            self.objects.delete(target, {"propagationPolicy": policy})

        self.do(remove)

    def make_namespace(self, name: str) -> None:
        self.do(lambda: self._make_namespace(name))

    def _make_namespace(self, name: str) -> None:
        kind = self.registry.kinds["", "namespaces"]
        target = Target(kind=kind, version=kind.versions["v1"])
        self.objects.create(target, {"metadata": {"name": name}})

    def _furnish(self, shelf: Shelf, event: Event) -> None:
        """What every namespace has from its beginning."""
        if shelf.plural != "namespaces" or event.happened != "ADDED":
            return
        namespace = event.stored.obj["metadata"]["name"]
        certificate = {"data": {"ca.crt": ""}}
        for plural, name, body in (
            ("serviceaccounts", "default", {}),
            ("configmaps", "kube-root-ca.crt", certificate),
        ):
            kind = self.registry.kinds["", plural]
            target = Target(kind=kind, version=kind.versions["v1"], namespace=namespace)
            self.objects.create(target, {"metadata": {"name": name}, **body})

    def compact(self) -> None:
        self.do(self.state.compact)

    def end_watches(self) -> None:
        """Every open watch ends, as when the server restarts."""
        for watch in tuple(self.answering.watches):
            watch.end()

    @property
    def stats(self) -> Stats:
        return self.answering.stats

    @property
    def maxima(self) -> dict[str, int]:
        """The most objects that were live at once, by plural."""
        return self.state.maxima


@contextmanager
def running_double(folder: Path, **options: Any) -> Iterator[Double]:
    double = Double(folder, **options)
    double.start()
    try:
        yield double
    finally:
        double.stop()
