"""Catching up with the trials that have ended since the rule's watermark."""

from collections.abc import Sequence
from dataclasses import replace

from trialbus.contracts.collections import EVIDENCE, TRIALS
from trialbus.ports.store import Outcome, Query, Store, Write
from trialbus_early_stopping.app.chunk_reading import ChunkReader, Mark
from trialbus_early_stopping.app.evidence_documents import (
    RUN_EVIDENCE,
    RunEvidence,
    learn,
    must_be_stored,
)
from trialbus_early_stopping.app.memory import Remembered
from trialbus_early_stopping.app.rule_guard import guarded
from trialbus_early_stopping.app.views import (
    FINISHED_TRIAL,
    TRIAL_FIELDS,
    FinishedTrial,
    WatchedExperiment,
)
from trialbus_early_stopping.core.rule import ComparingRule, PeerRule

_PAGE_TRIALS = 100


class EvidenceDocuments:
    """Reads and writes of the evidence that this service owns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, runs: Sequence[str]) -> dict[str, RunEvidence]:
        """Those that are stored."""
        found = await self._store.get_many(EVIDENCE.name, runs)
        return {run: RUN_EVIDENCE.decode(document) for run, document in found.items()}

    async def commit(self, runs: Sequence[RunEvidence], now: float) -> dict[str, RunEvidence]:
        """One grouped write; what is stored now. Who is absent lost a race: read it again."""
        if not runs:
            return {}
        stored = [replace(run, version=run.version + 1, updated_at=now) for run in runs]
        writes = [
            Write(
                base={"_id": before.id, "version": before.version} if before.version else None,
                document=RUN_EVIDENCE.encode(after),
            )
            for before, after in zip(runs, stored, strict=True)
        ]
        outcomes = await self._store.commit(EVIDENCE.name, writes)
        pairs = zip(stored, outcomes, strict=True)
        return {run.id: run for run, outcome in pairs if outcome is Outcome.DONE}


class CompletedTrials:
    """Feeds the rule in the order of finish numbers and without gaps, so that its watermark says
    exactly what it knows."""

    def __init__(self, store: Store, documents: EvidenceDocuments, reader: ChunkReader) -> None:
        self._store = store
        self._documents = documents
        self._reader = reader

    async def catch_up(
        self, experiment: WatchedExperiment, remembered: Remembered, now: float
    ) -> None:
        """As far as trial documents are written; the rest waits for the next look. A rule that
        looks at nothing but the trial that it judges needs none. Raises RuleFailed."""
        rule = remembered.rule
        if not isinstance(rule, ComparingRule):
            return
        while rule.watermark < experiment.finished:
            trials = await self._next_trials(experiment.id, rule.watermark)
            if not trials:
                return
            evidence = await self._evidence(experiment, trials, remembered, now)
            if isinstance(rule, PeerRule):
                others = [trial.run for trial in trials if not trial.counts]
                await self._hear(remembered, rule, others)
            for trial in trials:
                if trial.counts:
                    remembered.complete(rule, evidence[trial.run], trial.finished)
                else:
                    remembered.pass_over(rule, trial.finished)

    async def _hear(self, remembered: Remembered, rule: PeerRule, runs: Sequence[str]) -> None:
        """Trials that were stopped or have failed: what was known of them while they ran."""
        for kept in (await self._documents.read(runs)).values() if runs else ():
            with guarded(remembered.limit):
                rule.hear(kept.trial, kept.values)

    async def _next_trials(self, uid: str, watermark: int) -> list[FinishedTrial]:
        page = await self._store.find(
            TRIALS.name,
            Query(
                equals={"uid": uid},
                above={"finished": watermark},
                order="finished",
                limit=_PAGE_TRIALS,
                fields=TRIAL_FIELDS,
            ),
        )
        trials = []
        for number, document in enumerate(page, start=watermark + 1):
            trial = FINISHED_TRIAL.decode(document)
            if trial.finished != number:
                break
            trials.append(trial)
        return trials

    async def _evidence(
        self,
        experiment: WatchedExperiment,
        trials: Sequence[FinishedTrial],
        remembered: Remembered,
        now: float,
    ) -> dict[str, RunEvidence]:
        """All that the counting trials have reported. Their chunks are all stored: a trial has
        not succeeded before."""
        counting = {trial.run: trial for trial in trials if trial.counts}
        known = {run: it for run in counting if (it := remembered.evidence.pop(run, None))}
        known |= await self._documents.read([run for run in counting if run not in known])
        before = {
            run: known.get(run)
            or RunEvidence(
                id=run, uid=trial.uid, version=0, trial=trial.name, attempt=trial.attempt
            )
            for run, trial in counting.items()
        }
        metric = experiment.spec.objective.metric
        behind = [
            Mark(run=run, metric=metric, to_byte=it.to_byte)
            for run, it in before.items()
            if not it.complete
        ]
        news = await self._reader.read(behind)
        after = {run: learn(before[run], each) for run, each in news.items()}
        # A lost race does no harm: another replica has stored the same values.
        await self._documents.commit(
            [it for run, it in after.items() if must_be_stored(before[run], it)], now
        )
        return before | after
