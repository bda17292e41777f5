"""load -> judge -> commit -> tell, for a group of experiments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from trialbus.contracts.collections import EVIDENCE, EXPERIMENTS
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.ids import parse_run_id, trial_name
from trialbus.kernel.limits import MAX_COMMIT_RETRIES
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus.runtime.sweeping import Purging, active_experiments
from trialbus_early_stopping.app.chunk_reading import ChunkReader, Mark
from trialbus_early_stopping.app.completed import CompletedTrials, EvidenceDocuments
from trialbus_early_stopping.app.evidence_documents import RunEvidence, judge, must_be_stored
from trialbus_early_stopping.app.memory import Memory, Remembered
from trialbus_early_stopping.app.notices import stop_requests
from trialbus_early_stopping.app.views import (
    EXPERIMENT_FIELDS,
    WATCHED_EXPERIMENT,
    WatchedExperiment,
)
from trialbus_early_stopping.core.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """An experiment with something to decide, and what is remembered of it."""

    experiment: WatchedExperiment
    remembered: Remembered


class StoppingReactor:
    """The stopping service's reaction to "experiment X changed"."""

    def __init__(self, parts: Parts, rules: Registry) -> None:
        self._parts = parts
        self._rules = rules
        self._documents = EvidenceDocuments(parts.store)
        self._reader = ChunkReader(parts.store)
        self._completed = CompletedTrials(parts.store, self._documents, self._reader)
        self._memory = Memory(rules)
        self._purging = Purging(parts.store, parts.clock, self._remove)
        # Active experiments, and whether they have a stopping rule.
        self._has_rule: dict[str, bool] = {}

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception]:
        """Judge what is new of each experiment's open runs."""
        failed: dict[str, Exception] = {}
        due = list(uids)
        for _ in range(MAX_COMMIT_RETRIES):
            due = await self._advance(due, failed)
            if not due:
                return failed
        for uid in due:
            failed[uid] = Transient("lost every compare-and-set race")
        return failed

    async def _advance(self, uids: Sequence[str], failed: dict[str, Exception]) -> list[str]:
        """One round; returns the experiments that need another."""
        now = self._parts.clock.now()
        watched = await self._look(uids, failed)
        for each in watched:
            await self._completed.catch_up(each.experiment, each.remembered, now)
        self._memory.trim()
        await self._load(watched)
        changed = await self._judge(watched, now)
        stored = await self._documents.commit(changed, now)
        lost = [run for run in changed if run.id not in stored]
        self._parts.telemetry.conflicts.inc(len(lost))
        self._remember(watched, stored, lost)
        await self._tell(watched, list(stored.values()), now)
        return sorted({run.uid for run in lost})

    async def _look(self, uids: Sequence[str], failed: dict[str, Exception]) -> list[_Watched]:
        documents = await self._parts.store.get_many(
            EXPERIMENTS.name, uids, fields=EXPERIMENT_FIELDS
        )
        watched = []
        deleted: dict[str, float | None] = {uid: None for uid in uids if uid not in documents}
        for uid, document in documents.items():
            try:
                experiment = WATCHED_EXPERIMENT.decode(document)
            except ValidationError as error:
                failed[uid] = Poison(f"unreadable experiment document: {error}")
                continue
            rule = experiment.rule
            if rule is not None and rule.name in self._rules:
                remembered = self._memory.of(experiment, rule)
                watched.append(_Watched(experiment=experiment, remembered=remembered))
                continue
            self._memory.drop(uid)
            if experiment.phase is ExperimentPhase.DELETED:
                deleted[uid] = experiment.completed_at
        await self._purging.purge(deleted)
        return watched

    async def _load(self, watched: Sequence[_Watched]) -> None:
        """Remember the evidence of every running attempt, and of no other."""
        missing: dict[str, _Watched] = {}
        for each in watched:
            running, evidence = each.experiment.running, each.remembered.evidence
            for run in evidence.keys() - running.keys():
                del evidence[run]
            missing |= {run: each for run in running if run not in evidence}
        stored = await self._documents.read(list(missing)) if missing else {}
        for run, each in missing.items():
            each.remembered.evidence[run] = stored.get(run) or _nothing_yet(each.experiment, run)

    async def _judge(self, watched: Sequence[_Watched], now: float) -> list[RunEvidence]:
        """What must be stored; what need not be is remembered at once."""
        marks = [mark for each in watched for mark in _marks(each)]
        news = await self._reader.read(marks)
        changed = []
        for each in watched:
            remembered, evidence = each.remembered, each.remembered.evidence
            for run in evidence.keys() & news.keys():
                after = judge(remembered.name, remembered.rule, evidence[run], news[run], now)
                if must_be_stored(evidence[run], after):
                    changed.append(after)
                else:
                    evidence[run] = after
        return sorted(changed, key=lambda run: run.id)

    def _remember(
        self,
        watched: Sequence[_Watched],
        stored: Mapping[str, RunEvidence],
        lost: Sequence[RunEvidence],
    ) -> None:
        by_uid = {each.experiment.id: each.remembered.evidence for each in watched}
        for run in stored.values():
            by_uid[run.uid][run.id] = run
        for run in lost:
            # Another replica was faster: read what it wrote in the next round.
            del by_uid[run.uid][run.id]

    async def _tell(
        self, watched: Sequence[_Watched], stored: Sequence[RunEvidence], now: float
    ) -> None:
        notices = []
        for each in watched:
            uid = each.experiment.id
            stopped = [run for run in stored if run.uid == uid and run.verdict is not None]
            notices += stop_requests(each.experiment, stopped, now)
            for run in stopped:
                self._parts.telemetry.log.info("stopped early", run=run.id, trial=run.trial)
        await self._parts.outbox.publish_notices(notices)

    async def sweep(self) -> Sequence[str]:
        """Active experiments with a stopping rule, and deleted ones."""
        uids = await active_experiments(self._parts.store)
        unknown = [uid for uid in uids if uid not in self._has_rule]
        specs = await self._parts.store.get_many(EXPERIMENTS.name, unknown, fields=("spec",))
        has_rule = {uid: self._has_rule[uid] for uid in uids if uid in self._has_rule}
        for uid, document in specs.items():
            rule = document["spec"]["early_stopping"]
            has_rule[uid] = rule is not None and rule["name"] in self._rules
            if rule is not None and not has_rule[uid]:
                # Installed where it was submitted, but not here.
                self._parts.telemetry.log.warning("no such rule here", uid=uid, rule=rule["name"])
        self._has_rule = has_rule
        self._memory.keep(has_rule.keys())
        return [*(uid for uid in uids if has_rule.get(uid)), *await self._purging.due()]

    async def _remove(self, uid: str) -> bool:
        await self._parts.store.delete(EVIDENCE.name, Query(prefix=f"{uid}."))
        return True


def _nothing_yet(experiment: WatchedExperiment, run: str) -> RunEvidence:
    key = parse_run_id(run)
    trial = trial_name(experiment.name, key.uid, key.index)
    return RunEvidence(id=run, uid=key.uid, version=0, trial=trial, attempt=key.attempt)


def _marks(watched: _Watched) -> list[Mark]:
    metric = watched.experiment.spec.objective.metric
    return [
        Mark(run=run, metric=metric, to_byte=evidence.to_byte)
        for run, evidence in watched.remembered.evidence.items()
        if not evidence.complete and evidence.verdict is None
    ]
