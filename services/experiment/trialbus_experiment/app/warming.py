"""Warm starts: what others have found is copied into a document of the new experiment before it is
there, so that the others may go on, or go."""

from collections.abc import Sequence
from dataclasses import replace

from trialbus.contracts.collections import EXPERIMENTS, TRIALS, WARM_TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL, WARM
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.trial import Trial
from trialbus.kernel.warm_start import WarmSource, WarmTrial, WarmTrials
from trialbus.ports.store import Query, Store, Write
from trialbus_experiment.core.warming import FIELD, check_source, chosen, fitting, share_of


class Warming:
    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue

    async def warmed(self, state: Experiment, *, dry_run: bool = False) -> Experiment:
        """A new experiment with what it begins with. A repeat of its creation finds the copy that
        the first one made. Raises Refused."""
        description = self._catalogue.algorithms.get(state.spec.algorithm.name)
        learns = description is not None and description.warm_start == "learns"
        if not state.spec.warm_start_from or not learns:
            return state
        sources, trials = [], list[WarmTrial]()
        for name in state.spec.warm_start_from:
            source, found = await self._taken(state, name)
            sources.append(source)
            trials += found
        if not trials:
            told = ", ".join(f"{it.name} ({it.left_out} outside)" for it in sources)
            message = f"no trial with a result lies within the parameters' space: {told}"
            raise Refused([Problem(field=FIELD, message=message)])
        if not dry_run:
            trials = list(await self._kept(state.id, trials))
        return replace(state, warm_sources=tuple(sources), warm_trials=len(trials))

    async def _taken(self, state: Experiment, name: str) -> tuple[WarmSource, list[WarmTrial]]:
        source = await self._source(state.namespace, name)
        check_source(state.spec, name, source)
        looked_at = await self._telling(state, source)
        fit = fitting(state.spec, looked_at)
        taken = WarmSource(
            uid=source.id,
            name=name,
            watermark=source.finished,
            taken=len(fit),
            left_out=len(looked_at) - len(fit),
        )
        return taken, fit

    async def _source(self, namespace: str, name: str) -> Experiment:
        """In its own namespace only: namespaces are tenants."""
        found = await self._store.find(
            EXPERIMENTS.name, Query(equals={"alive_name": f"{namespace}/{name}"}, limit=1)
        )
        if not found:
            message = f"there is no experiment {namespace}/{name}"
            raise Refused([Problem(field=FIELD, message=message)])
        return EXPERIMENT.decode(found[0])

    async def _telling(self, state: Experiment, source: Experiment) -> list[Trial]:
        """Two reads of an index each, however many trials it has."""
        share, uid = share_of(state.spec), {"uid": source.id}
        minimize = source.spec.objective.type is ObjectiveType.MINIMIZE
        # A bound on numbers leaves out what has none.
        best = Query(
            equals=uid,
            at_least={"value": float("-inf")},
            order="value" if minimize else "-value",
            limit=share,
        )
        newest = Query(
            equals=uid,
            above={"finished": 0},
            at_most={"finished": source.finished},
            order="-finished",
            limit=share,
        )
        found = [await self._trials(query) for query in (best, newest)]
        counted = [it for it in found[0] if it.finished and it.finished <= source.finished]
        return chosen(state.spec, counted, found[1])

    async def _trials(self, query: Query) -> list[Trial]:
        return [TRIAL.decode(it) for it in await self._store.find(TRIALS.name, query)]

    async def _kept(self, uid: str, trials: Sequence[WarmTrial]) -> tuple[WarmTrial, ...]:
        """What is stored: this, or what an earlier attempt of the same creation stored."""
        document = WARM.encode(WarmTrials(id=uid, version=1, trials=tuple(trials)))
        await self._store.commit(WARM_TRIALS.name, [Write(base=None, document=document)])
        there = await self._store.get_many(WARM_TRIALS.name, [uid])
        return WARM.decode(there[uid]).trials
