"""What can be asked about many trials at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.trial import Trial
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.answers import metrics_answer
from trialbus_gateway.app.documents import Documents, check_name
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.app.listing import Page, PageRequest
from trialbus_gateway.app.metrics import Metrics, MetricsWanted
from trialbus_gateway.app.objects import Objects
from trialbus_gateway.app.rows import Rows
from trialbus_gateway.app.trial_listing import TrialListing
from trialbus_gateway.app.trial_selection import EVERYTHING, TrialSelection

Json = dict[str, Any]
View = Literal["object", "table"]


class TrialQuestions:
    def __init__(self, parts: Parts) -> None:
        self._documents = Documents(parts.store)
        self._listing = TrialListing(parts.store)
        self._objects = Objects(parts.store)
        self._rows = Rows(parts.store)
        self._metrics = Metrics(parts)

    async def page(
        self,
        namespace: str | None,
        experiment: str | None,
        page: PageRequest,
        *,
        uid: str | None = None,
        selection: TrialSelection = EVERYTHING,
        view: View = "object",
    ) -> Json:
        """Of one experiment, by its name or uid, or of all. uid: it may be archived. Raises
        NotThere, Unreadable."""
        if namespace is not None:
            check_name("namespace", namespace)
        if uid is not None:
            state = await self._documents.readable(uid)
            found = await self._listing.trials_of(state, page, selection)
        elif experiment is None:
            found = await self._listing.trials(namespace, page, selection)
        elif namespace is None:
            raise Unreadable("namespace: is needed beside experiment")
        else:
            state = await self._documents.living(namespace, experiment)
            found = await self._listing.trials_of(state, page, selection)
        return await self._shown(found, view, history=uid is not None)

    async def metrics(
        self,
        namespace: str,
        experiment: str,
        page: PageRequest,
        *,
        selection: TrialSelection,
        wanted: MetricsWanted,
    ) -> Json:
        """Of a page of an experiment's trials; of the objective, unless metrics are named."""
        state = await self._documents.living(namespace, experiment)
        if not wanted.metrics:
            wanted = replace(wanted, metrics=frozenset([state.spec.objective.metric]))
        found = await self._listing.trials_of(state, page, selection)
        rows = await self._rows.of(found.items)
        by_name = await self._curves(state, found.items, wanted)
        kept = ("trial", "index", "attempt", "state", "value", "parameters")
        items = [
            {name: row[name] for name in kept} | by_name[row["trial"]]
            for row in rows
            if row["trial"] in by_name
        ]
        return {"items": items, "next": found.next}

    async def _curves(
        self, state: Experiment, trials: Sequence[Trial], wanted: MetricsWanted
    ) -> dict[str, Json]:
        answers = map(metrics_answer, await self._metrics.of_many(trials, state, wanted))
        return {it["trial"]: it for it in answers}

    async def _shown(self, found: Page[Trial], view: View, *, history: bool) -> Json:
        if view == "table":
            shown = await self._rows.of(found.items, history=history)
        else:
            shown = await self._objects.trials(found.items, history=history)
        return {"items": shown, "next": found.next}
