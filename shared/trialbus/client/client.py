"""The sync client."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from trialbus.client import words
from trialbus.client.addresses import find_address
from trialbus.client.asked import AskedTrial, this_worker, trials_of
from trialbus.client.batches import Batch
from trialbus.client.calls import Flow
from trialbus.client.desks import Desk, GroupDesk, Leases
from trialbus.client.driving import drive
from trialbus.client.events import Event
from trialbus.client.failures import NotThere, Unavailable
from trialbus.client.following import Following, LogText
from trialbus.client.held import Held
from trialbus.client.patience import Patience
from trialbus.client.records import Applied, Best, Series, Trial, parse_trial
from trialbus.client.talk import DEFAULT_NAMESPACE, Talk, folder_of, read_object
from trialbus.client.transports import SyncTransport, sync_transport
from trialbus.client.words import Workplace
from trialbus.contracts.http_paths import path_of
from trialbus.contracts.progress import Progress
from trialbus.kernel.limits import DEFAULT_LEASE_S

T = TypeVar("T")
Json = Any
Experiment = Mapping[str, Any] | str | os.PathLike[str]


class Client:
    """A stack's API. Threads may share one.

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
        self._transport: SyncTransport = sync_transport(address)
        self._objectives: dict[Workplace, str | None] = {}
        self._leases = Leases(self._run, self._patience)

    # Reading ------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The gateway's version, and which servers it reaches."""
        found: dict[str, Any] = self._run(self._talk.read(path_of("status")))
        return found

    def get(self, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """The Experiment, as Katib has it. Raises NotThere."""
        found: dict[str, Any] = self._run(self._talk.read(self._talk.of(name, namespace)))
        return found

    def list(self, *, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        """Experiments, newest first, of all namespaces or of one; page by page."""
        yield from self._items(path_of("experiments"), namespace=namespace)

    def progress(self, name: str, *, namespace: str | None = None) -> Progress:
        """How far it is: phase, trials by state, the best so far."""
        return self._run(self._talk.progress(name, namespace))

    def wait(
        self,
        name: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Progress], object] | None = None,
        namespace: str | None = None,
    ) -> Progress:
        """Until it has ended, however it did. on_progress: called with each look at it. Raises
        TimedOut after so many seconds."""
        return self._run(self._talk.wait(name, namespace, timeout, on_progress))

    def best(self, name: str, *, namespace: str | None = None) -> Best | None:
        """The best trial so far, its parameters typed; None while there is none."""
        return self._run(self._talk.best(name, namespace))

    def trials(self, name: str, *, namespace: str | None = None) -> Iterator[Trial]:
        """All trials in the order of their opening, page by page."""
        where = namespace or self.namespace
        kinds = self._run(self._talk.kinds(name, where))
        for raw in self._items(path_of("trials"), namespace=where, experiment=name):
            yield parse_trial(raw, kinds)

    def trial(self, trial: str) -> Trial:
        """One trial by its name."""
        return self._run(self._talk.trial(trial))

    def metrics(self, trial: str) -> tuple[Series, ...]:
        """Every point that the trial's newest attempt has reported."""
        return self._run(self._talk.metrics(trial))

    def events(
        self,
        name: str,
        *,
        follow: bool = False,
        after: str | None = None,
        namespace: str | None = None,
    ) -> Iterator[Event]:
        """What happened to an experiment, oldest first, each event once. follow: go on with new
        ones until it is deleted; a connection that breaks is made again and goes on where it was.
        after: the id of the last event that is known."""
        following = Following(self._talk.of(name, namespace, "events"), follow, after)
        while not following.done:
            try:
                with self._transport.stream(following.call, following.silence_s) as blocks:
                    for block in blocks:
                        yield from following.feed(block)
                following.ended()
            except NotThere as failure:
                following.gone(failure)
            except Unavailable as failure:
                following.broken(failure, self._patience)
            if not following.done:
                time.sleep(following.pause_s)

    def explain(self, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """Why an experiment is in its state: the chain of what happened, with reasons."""
        found: dict[str, Any] = self._run(
            self._talk.read(self._talk.of(name, namespace, "explain"))
        )
        return found

    def explain_trial(self, trial: str) -> dict[str, Any]:
        """Why a trial is in its state, with exit code, evidence and the end of its log."""
        found: dict[str, Any] = self._run(self._talk.read(path_of("trials", trial, "explain")))
        return found

    def log(self, trial: str, *, follow: bool = False, tail: int | None = None) -> Iterator[str]:
        """The output of a trial's newest attempt, in pieces. follow: until it ends. tail: only its
        last lines."""
        text = LogText(trial, follow, tail)
        with self._transport.stream(text.call, None) as blocks:
            for block in blocks:
                yield text.decode(block)

    def suggestion(self, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """Katib's Suggestion of an experiment."""
        found: dict[str, Any] = self._run(
            self._talk.read(self._talk.of(name, namespace, "suggestion"))
        )
        return found

    # Commands -----------------------------------------------------------------------------------

    def apply(
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
        return self._run(self._talk.apply(read_object(experiment), folder, id))

    def create(
        self,
        experiment: Experiment,
        *,
        working_dir: str | os.PathLike[str] | None = None,
        id: str | None = None,
    ) -> Applied:
        """As `apply`, but raises Conflict if there is one of this name."""
        folder = folder_of(experiment, working_dir)
        return self._run(self._talk.create(read_object(experiment), folder, id))

    def edit(
        self,
        name: str,
        changes: Mapping[str, Any],
        *,
        namespace: str | None = None,
        id: str | None = None,
    ) -> Applied:
        """Change budgets or the goal: `{"maxTrialCount": 24}`. Raises Refused."""
        return self._run(self._talk.edit(name, changes, namespace, id))

    def suspend(
        self,
        name: str,
        *,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """Stop its trials until it is resumed. uid: only if it is this experiment."""
        return self._run(self._talk.tell("suspend", name, namespace, id, uid))

    def resume(
        self,
        name: str,
        *,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """Let a suspended experiment go on."""
        return self._run(self._talk.tell("resume", name, namespace, id, uid))

    def stop(
        self,
        name: str,
        *,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """End it with what it has found."""
        return self._run(self._talk.tell("stop", name, namespace, id, uid))

    def delete(
        self,
        name: str,
        *,
        keep_history: bool = False,
        namespace: str | None = None,
        id: str | None = None,
        uid: str | None = None,
    ) -> Applied:
        """Stop it and remove its records; keep_history: they stay readable."""
        return self._run(self._talk.delete(name, namespace, keep_history, id, uid))

    def post_event(self, event: Mapping[str, Any], *, wait: float | None = None) -> dict[str, Any]:
        """Post a command as a CloudEvent; `specversion`, `id` and `source` are added if they are
        not there. wait: seconds for the experiment's end; then `finished` and `result` say."""
        return self._run(self._talk.post_event(event, wait))

    # Work ---------------------------------------------------------------------------------------

    def ask(
        self,
        name: str,
        *,
        lease: float = DEFAULT_LEASE_S,
        timeout: float | None = None,
        worker: str | None = None,
        namespace: str | None = None,
    ) -> AskedTrial:
        """The next trial of an experiment whose trials are run by workers, as soon as there is
        one. Its lease of so many seconds is renewed beside the work as long as this process lives.
        worker: who asks, for people. Raises ExperimentOver, TimedOut after so many seconds."""
        place = Workplace(namespace or self.namespace, name)
        flow = words.ask_one(
            place,
            worker=worker or this_worker(),
            lease_s=lease,
            timeout=timeout,
            patience=self._patience,
        )
        held = Held(self._run(flow))
        self._leases.hold(place, [held])
        desk = Desk(self._run, self._leases, place, self._patience, self._objective_of(place))
        return AskedTrial(held, desk)

    def work_on(
        self,
        name: str,
        *,
        ahead: int = 8,
        lease: float = DEFAULT_LEASE_S,
        worker: str | None = None,
        namespace: str | None = None,
    ) -> Iterator[AskedTrial]:
        """Trials, one after the other, until the experiment is over:

            for trial in client.work_on("digits"):
                with trial:
                    trial.tell(loss=f(**trial.parameters))

        ahead: so many are leased in advance (the experiment's parallelTrialCount is the most that
        all workers hold together). Results go in groups, a fifth of a second late at most, and
        with them the ask for more. Leaving the loop tells what is done and gives back the rest.
        """
        place = Workplace(namespace or self.namespace, name)
        batch = Batch(ahead=ahead, lease_s=lease, worker=worker or this_worker())
        objective = self._objective_of(place)
        desk = GroupDesk(self._run, self._leases, place, self._patience, objective, batch)
        return trials_of(desk)

    # Its own ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of connections; leases that are still held are renewed no more."""
        self._leases.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T], /) -> T:
        return drive(flow, self._transport.send)

    def _items(self, path: str, **query: str | None) -> Iterator[Json]:
        after: str | None = None
        while True:
            page = self._run(self._talk.page(path, after, **query))
            yield from page["items"]
            after = page.get("next")
            if not after:
                return

    def _objective_of(self, place: Workplace) -> Callable[[], str | None]:
        def objective() -> str | None:
            if place not in self._objectives:
                known = self._transport.answers_questions
                flow = self._talk.progress(place.name, place.namespace)
                self._objectives[place] = self._run(flow).metric if known else None
            return self._objectives[place]

        return objective
