"""The async client: the same names as the sync one's; a test compares the two."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from trialbus.client import words
from trialbus.client.addresses import find_address
from trialbus.client.asked import this_worker
from trialbus.client.async_asked import Asking, AsyncAskedTrial, trials_of
from trialbus.client.async_desks import AsyncDesk, AsyncGroupDesk, AsyncLeases
from trialbus.client.batches import Batch
from trialbus.client.calls import Answer, Flow, Send
from trialbus.client.events import Event
from trialbus.client.failures import NotThere, Unavailable
from trialbus.client.following import Following, LogText
from trialbus.client.held import Held
from trialbus.client.patience import Patience
from trialbus.client.records import Applied, Best, Series, Trial, parse_trial
from trialbus.client.talk import DEFAULT_NAMESPACE, Talk, folder_of, read_object
from trialbus.client.transports import AsyncTransport, async_transport
from trialbus.client.words import Workplace
from trialbus.contracts.http_paths import path_of
from trialbus.contracts.progress import Progress
from trialbus.kernel.limits import DEFAULT_LEASE_S

T = TypeVar("T")
Json = Any
Experiment = Mapping[str, Any] | str | os.PathLike[str]


class AsyncClient:
    """A stack's API, for asyncio: as `Client`, with `await`, `async for` and `async with`.

    url: `http(s)://...` of a gateway, or `nats://...`, over which commands and workers' words go
    (questions need a gateway). Without it: `TRIALBUS_URL`, else the stack that runs on data_dir
    (else on `TRIALBUS_DATA_DIR`, else on `.trialbus`). namespace: of experiments that are named
    without one. token: else `TRIALBUS_TOKEN`; over NATS the seed file of a worker, `<name>.seed`
    (of others with `?inbox=_INBOX_<role>.<name>` in the url). timeout: seconds for one call,
    repeats included; a call that is given up may be made again, it is obeyed once.

    Raises what `trialbus.TrialbusError` covers; Unavailable if nothing tells where a stack is.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        token: str | None = None,
        timeout: float = 30.0,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        address = find_address(url, token=token, data_dir=data_dir)
        self.url = address.url
        self.namespace = namespace
        self._patience = Patience(seconds=timeout)
        self._talk = Talk(patience=self._patience, namespace=namespace)
        self._transport: AsyncTransport = async_transport(address)
        self._objectives: dict[Workplace, str | None] = {}
        self._leases = AsyncLeases(self._run, self._patience)

    # Reading ------------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """The gateway's version, and which servers it reaches."""
        found: dict[str, Any] = await self._run(self._talk.read(path_of("status")))
        return found

    async def get(self, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """The Experiment, as Katib has it. Raises NotThere."""
        found: dict[str, Any] = await self._run(self._talk.read(self._talk.of(name, namespace)))
        return found

    async def list(self, *, namespace: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Experiments, newest first, of all namespaces or of one; page by page."""
        async for raw in self._items(path_of("experiments"), namespace=namespace):
            yield raw

    async def progress(self, name: str, *, namespace: str | None = None) -> Progress:
        """How far it is: phase, trials by state, the best so far."""
        return await self._run(self._talk.progress(name, namespace))

    async def wait(
        self,
        name: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Progress], object] | None = None,
        namespace: str | None = None,
    ) -> Progress:
        """Until it has ended, however it did. on_progress: called with each look at it. Raises
        TimedOut after so many seconds."""
        return await self._run(self._talk.wait(name, namespace, timeout, on_progress))

    async def best(self, name: str, *, namespace: str | None = None) -> Best | None:
        """The best trial so far, its parameters typed; None while there is none."""
        return await self._run(self._talk.best(name, namespace))

    async def trials(self, name: str, *, namespace: str | None = None) -> AsyncIterator[Trial]:
        """All trials in the order of their opening, page by page."""
        where = namespace or self.namespace
        kinds = await self._run(self._talk.kinds(name, where))
        async for raw in self._items(path_of("trials"), namespace=where, experiment=name):
            yield parse_trial(raw, kinds)

    async def trial(self, trial: str) -> Trial:
        """One trial by its name."""
        return await self._run(self._talk.trial(trial))

    async def metrics(self, trial: str) -> tuple[Series, ...]:
        """Every point that the trial's newest attempt has reported."""
        return await self._run(self._talk.metrics(trial))

    async def events(
        self,
        name: str,
        *,
        follow: bool = False,
        after: str | None = None,
        namespace: str | None = None,
    ) -> AsyncIterator[Event]:
        """What happened to an experiment, oldest first, each event once. follow: go on with new
        ones until it is deleted; a connection that breaks is made again and goes on where it was.
        after: the id of the last event that is known."""
        following = Following(self._talk.of(name, namespace, "events"), follow, after)
        while not following.done:
            try:
                stream = self._transport.stream(following.call, following.silence_s)
                async with stream as blocks:
                    async for block in blocks:
                        for event in following.feed(block):
                            yield event
                following.ended()
            except NotThere as failure:
                following.gone(failure)
            except Unavailable as failure:
                following.broken(failure, self._patience)
            if not following.done:
                await asyncio.sleep(following.pause_s)

    async def explain(self, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """Why an experiment is in its state: the chain of what happened, with reasons."""
        found: dict[str, Any] = await self._run(
            self._talk.read(self._talk.of(name, namespace, "explain"))
        )
        return found

    async def explain_trial(self, trial: str) -> dict[str, Any]:
        """Why a trial is in its state, with exit code, evidence and the end of its log."""
        found: dict[str, Any] = await self._run(
            self._talk.read(path_of("trials", trial, "explain"))
        )
        return found

    async def log(
        self, trial: str, *, follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[str]:
        """The output of a trial's newest attempt, in pieces. follow: until it ends. tail: only its
        last lines."""
        text = LogText(trial, follow, tail)
        async with self._transport.stream(text.call, None) as blocks:
            async for block in blocks:
                yield text.decode(block)

    async def suggestion(self, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """Katib's Suggestion of an experiment."""
        found: dict[str, Any] = await self._run(
            self._talk.read(self._talk.of(name, namespace, "suggestion"))
        )
        return found

    # Commands -----------------------------------------------------------------------------------

    async def apply(
        self,
        experiment: Experiment,
        *,
        working_dir: str | os.PathLike[str] | None = None,
        id: str | None = None,
    ) -> Applied:
        """Create it, or change what may be changed of it. experiment: Katib's object, or the YAML
        file that holds it. working_dir: where its trials run; else the file's folder. id: of this
        command, obeyed once however often it is sent. Raises Refused with every problem."""
        folder = folder_of(experiment, working_dir)
        return await self._run(self._talk.apply(read_object(experiment), folder, id))

    async def create(
        self,
        experiment: Experiment,
        *,
        working_dir: str | os.PathLike[str] | None = None,
        id: str | None = None,
    ) -> Applied:
        """As `apply`, but raises Conflict if there is one of this name."""
        folder = folder_of(experiment, working_dir)
        return await self._run(self._talk.create(read_object(experiment), folder, id))

    async def edit(
        self,
        name: str,
        changes: Mapping[str, Any],
        *,
        namespace: str | None = None,
        id: str | None = None,
    ) -> Applied:
        """Change budgets or the goal: `{"maxTrialCount": 24}`. Raises Refused."""
        return await self._run(self._talk.edit(name, changes, namespace, id))

    async def suspend(
        self,
        name: str,
        *,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """Stop its trials until it is resumed. uid: only if it is this experiment."""
        return await self._run(self._talk.tell("suspend", name, namespace, id, uid))

    async def resume(
        self,
        name: str,
        *,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """Let a suspended experiment go on."""
        return await self._run(self._talk.tell("resume", name, namespace, id, uid))

    async def stop(
        self,
        name: str,
        *,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """End it with what it has found."""
        return await self._run(self._talk.tell("stop", name, namespace, id, uid))

    async def delete(
        self,
        name: str,
        *,
        keep_history: bool = False,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """Stop it and remove its records; keep_history: they stay readable."""
        return await self._run(self._talk.delete(name, namespace, keep_history, id, uid))

    async def post_event(
        self, event: Mapping[str, Any], *, wait: float | None = None
    ) -> dict[str, Any]:
        """Post a command as a CloudEvent; `specversion`, `id` and `source` are added if they are
        not there. wait: seconds for the experiment's end; then `finished` and `result` say."""
        return await self._run(self._talk.post_event(event, wait))

    # Work ---------------------------------------------------------------------------------------

    def ask(
        self,
        name: str,
        *,
        lease: float = DEFAULT_LEASE_S,
        timeout: float | None = None,
        worker: str | None = None,
        namespace: str | None = None,
    ) -> Asking:
        """The next trial of an experiment whose trials are run by workers, as soon as there is
        one: `async with client.ask(...) as trial`, or `trial = await client.ask(...)`. Its lease
        of so many seconds is renewed beside the work as long as this process lives. worker: who
        asks, for people. Raises ExperimentOver, TimedOut after so many seconds."""
        place = Workplace(namespace or self.namespace, name)

        async def asked() -> AsyncAskedTrial:
            flow = words.ask_one(
                place,
                worker=worker or this_worker(),
                lease_s=lease,
                timeout=timeout,
                patience=self._patience,
            )
            held = Held(await self._run(flow))
            self._leases.hold(place, [held])
            objective = self._objective_of(place)
            desk = AsyncDesk(self._run, self._leases, place, self._patience, objective)
            return AsyncAskedTrial(held, desk)

        return Asking(asked)

    def work_on(
        self,
        name: str,
        *,
        ahead: int = 8,
        lease: float = DEFAULT_LEASE_S,
        worker: str | None = None,
        namespace: str | None = None,
    ) -> AsyncIterator[AsyncAskedTrial]:
        """Trials, one after the other, until the experiment is over:

            async for trial in client.work_on("digits"):
                async with trial:
                    await trial.tell(loss=await f(**trial.parameters))

        ahead: so many are leased in advance (the experiment's parallelTrialCount is the most that
        all workers hold together). Results go in groups, a fifth of a second late at most, and
        with them the ask for more. Leaving the loop tells what is done and gives back the rest.
        """
        place = Workplace(namespace or self.namespace, name)
        batch = Batch(ahead=ahead, lease_s=lease, worker=worker or this_worker())
        objective = self._objective_of(place)
        desk = AsyncGroupDesk(self._run, self._leases, place, self._patience, objective, batch)
        return trials_of(desk)

    # Its own ------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let go of connections; leases that are still held are renewed no more."""
        await self._leases.close()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[T], /) -> T:
        answer: Answer | None = None
        failure: Unavailable | None = None
        while True:
            try:
                step = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = failure = None
            if isinstance(step, Send):
                try:
                    answer = await self._transport.send(step.call, step.timeout_s)
                except Unavailable as error:
                    failure = error
            else:
                await asyncio.sleep(step.seconds)

    async def _items(self, path: str, **query: str | None) -> AsyncIterator[Json]:
        after: str | None = None
        while True:
            page = await self._run(self._talk.page(path, after, **query))
            for raw in page["items"]:
                yield raw
            after = page.get("next")
            if not after:
                return

    def _objective_of(self, place: Workplace) -> Callable[[], Awaitable[str | None]]:
        async def objective() -> str | None:
            if place not in self._objectives:
                known = self._transport.answers_questions
                flow = self._talk.progress(place.name, place.namespace)
                self._objectives[place] = (await self._run(flow)).metric if known else None
            return self._objectives[place]

        return objective
