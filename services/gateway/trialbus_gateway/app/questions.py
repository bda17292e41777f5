"""Everything that can be asked of the gateway; what it answers is plain JSON."""

from collections.abc import AsyncGenerator
from typing import Any

from trialbus.kernel.checkpoints import Checkpoint, checkpoint_of, checkpoints_of
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_id
from trialbus.kernel.limits import MAX_PAGE_ITEMS
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.templates import DefaultTemplate
from trialbus.runtime.checkpoints import artifact_root, checkpoint_root
from trialbus.runtime.parts import Parts
from trialbus.runtime.templates import local_images
from trialbus_gateway.app.answers import (
    metrics_answer,
    progress_answer,
    story_answer,
    trial_story_answer,
)
from trialbus_gateway.app.documents import Documents, check_name
from trialbus_gateway.app.drawn_points import DrawnPoints
from trialbus_gateway.app.following import CloudEvent, Following
from trialbus_gateway.app.listing import ExperimentSelection, Listing, PageRequest
from trialbus_gateway.app.logs import Logs
from trialbus_gateway.app.metrics import EVERY_POINT, Metrics, MetricsWanted
from trialbus_gateway.app.objects import Objects
from trialbus_gateway.app.series_reading import SeriesReading
from trialbus_gateway.app.telling import Telling
from trialbus_gateway.app.trial_questions import TrialQuestions
from trialbus_gateway.app.young_trials import YoungTrials
from trialbus_gateway.core.progress import count_trials, process_of

Json = dict[str, Any]


class Questions:
    """default, interpreter: what a trial without a template, and `python`, stand for."""

    def __init__(
        self, parts: Parts, *, default: DefaultTemplate, interpreter: str, following: Following
    ) -> None:
        self._parts = parts
        self._default = default
        self._interpreter = interpreter
        self._images = local_images(parts.settings)
        self._following = following
        self._documents = Documents(parts.store)
        self._young = YoungTrials(parts.store, self._documents)
        self._listing = Listing(parts.store)
        self._objects = Objects(parts.store)
        self._logs = Logs(parts)
        self._metrics = Metrics(parts)
        self._telling = Telling(parts.store, parts.clock)
        self.trials = TrialQuestions(parts)
        self.points = DrawnPoints(parts.store)
        self.series = SeriesReading(parts)

    async def experiment(self, namespace: str, name: str) -> Json:
        return await self._objects.experiment(await self._documents.living(namespace, name))

    async def experiments(self, wanted: ExperimentSelection, page: PageRequest) -> Json:
        _namespace(wanted.namespace)
        found = await self._listing.experiments(wanted, page)
        return {"items": await self._objects.experiments(found.items), "next": found.next}

    async def archived(self, namespace: str | None) -> Json:
        """Deleted experiments whose history was kept: the newest."""
        found = await self._documents.archived(_namespace(namespace), MAX_PAGE_ITEMS)
        return {"items": self._objects.archived(found), "next": None}

    async def suggestion(self, namespace: str, name: str) -> Json:
        return await self._objects.suggestion(await self._documents.living(namespace, name))

    async def suggestions(self, namespace: str | None, page: PageRequest) -> Json:
        wanted = ExperimentSelection(namespace=_namespace(namespace))
        found = await self._listing.experiments(wanted, page)
        return {"items": self._objects.suggestions(found.items), "next": found.next}

    async def trial(self, name: str) -> Json:
        return await self._objects.trial(await self._young.trial(name), history=True)

    async def progress(self, namespace: str, name: str) -> Json:
        """Two or three reads, because displays ask often."""
        state = await self._documents.living(namespace, name)
        running = await self._documents.running([state])
        process = None
        if state.best is not None:
            process = process_of(
                state,
                state.best,
                default=self._default,
                interpreter=self._interpreter,
                images=self._images,
                checkpoint=await self._checkpoint(state, state.best.index),
            )
        counts, now = count_trials(state, len(running[state.id])), self._parts.clock.now()
        artifacts = None if state.best is None else self._artifacts(state, state.best.index)
        return progress_answer(state, counts, process, now, artifacts=artifacts)

    def _artifacts(self, state: Experiment, index: int) -> str | None:
        """Where the launcher told a trial to leave them."""
        if state.spec.trials_by is not TrialsBy.LAUNCHER:
            return None
        return f"{checkpoints_of(artifact_root(self._parts.settings), state.id)}/{index}"

    async def _checkpoint(self, state: Experiment, index: int) -> Checkpoint:
        parent = await self._documents.parent_of(trial_id(state.id, index))
        root = checkpoint_root(self._parts.settings)
        return checkpoint_of(root, state.id, index, parent, state.spec.algorithm)

    async def explain_experiment(self, namespace: str, name: str) -> Json:
        state = await self._documents.living(namespace, name)
        return story_answer(await self._telling.experiment(state))

    async def explain_trial(self, name: str) -> Json:
        trial = await self._young.trial(name)
        return trial_story_answer(await self._telling.trial(trial))

    async def metrics(self, name: str, wanted: MetricsWanted = EVERY_POINT) -> Json:
        return metrics_answer(await self._metrics.of(await self._young.trial(name), wanted))

    async def log(self, name: str, *, follow: bool, tail: int | None) -> AsyncGenerator[str, None]:
        """Raises NotThere, Unreadable; the pieces come from what is returned."""
        trial = await self._documents.trial(name)
        return self._logs.read(trial, follow=follow, tail=tail)

    async def events(
        self, namespace: str, name: str, *, follow: bool, after: str = ""
    ) -> AsyncGenerator[CloudEvent | None, None]:
        """Raises NotThere, Unreadable; the events come from what is returned. after: the id of the
        last one that is known already."""
        state: Experiment = await self._documents.living(namespace, name)
        return self._following.events(state, follow=follow, after=after)

    def status(self) -> dict[str, bool]:
        """Which servers are in reach."""
        return {"nats": self._parts.bus.connected, "mongo": self._parts.store.connected}


def _namespace(namespace: str | None) -> str | None:
    if namespace is not None:
        check_name("namespace", namespace)
    return namespace
