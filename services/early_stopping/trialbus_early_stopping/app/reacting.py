"""load -> judge -> commit -> tell, for a group of experiments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trialbus.contracts.collections import EVIDENCE, EXPERIMENTS
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.events import Event
from trialbus.kernel.experiment import ExperimentPhase
from trialbus.kernel.ids import parse_run_id, trial_name
from trialbus.kernel.limits import MAX_COMMIT_RETRIES
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.traces import kept
from trialbus.ports.store import Query
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus.runtime.sweeping import Purging, active_experiments
from trialbus.runtime.traced import told_in
from trialbus_early_stopping.app.chunk_reading import ChunkReader, Mark
from trialbus_early_stopping.app.completed import CompletedTrials, EvidenceDocuments
from trialbus_early_stopping.app.evidence_documents import (
    News,
    RunEvidence,
    judge,
    must_be_stored,
)
from trialbus_early_stopping.app.memory import Memory, Remembered
from trialbus_early_stopping.app.notices import stop_requests
from trialbus_early_stopping.app.rule_failures import RuleFailures
from trialbus_early_stopping.app.rule_guard import RuleFailed, TimeLimit, guarded, no_limit
from trialbus_early_stopping.app.spans import tell_verdict
from trialbus_early_stopping.app.views import (
    EXPERIMENT_FIELDS,
    WATCHED_EXPERIMENT,
    WatchedExperiment,
)
from trialbus_early_stopping.core.registry import Registry
from trialbus_early_stopping.core.rule import PeerRule


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """An experiment with something to decide, and what is remembered of it."""

    experiment: WatchedExperiment
    remembered: Remembered


class StoppingReactor:
    """The stopping service's reaction to "experiment X changed"."""

    def __init__(self, parts: Parts, rules: Registry, limit: TimeLimit = no_limit) -> None:
        self._parts = parts
        self._rules = rules
        self._documents = EvidenceDocuments(parts.store)
        self._reader = ChunkReader(parts.store)
        self._completed = CompletedTrials(parts.store, self._documents, self._reader)
        self._memory = Memory(rules, limit=limit)
        self._failures = RuleFailures(parts)
        self._purging = Purging(parts.store, parts.clock, self._remove)
        # Active experiments, and whether they have a stopping rule.
        self._has_rule: dict[str, bool] = {}
        for rule in rules.names:
            # So that the first one is an increase, too.
            parts.telemetry.add(metrics.STOP_VERDICTS, 0, rule=rule)
            parts.telemetry.add(metrics.RULE_FAILURES, 0, rule=rule)

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
        watched = await self._caught_up(await self._look(uids, failed), now)
        self._memory.trim()
        watched = await self._load(watched)
        changed, reported_at = await self._judge(watched, now)
        stored = await self._documents.commit(changed, now)
        lost = [run for run in changed if run.id not in stored]
        self._parts.telemetry.add(metrics.CONFLICTS, len(lost))
        self._remember(watched, stored, lost)
        self._count(watched, list(stored.values()), reported_at)
        await self._tell(watched, list(stored.values()), now)
        return sorted({run.uid for run in lost})

    async def _look(self, uids: Sequence[str], failed: dict[str, Exception]) -> list[_Watched]:
        documents = await self._parts.store.get_many(
            EXPERIMENTS.name, uids, fields=EXPERIMENT_FIELDS
        )
        watched = []
        await self._failures.read(
            [uid for uid, it in documents.items() if _names_rule(it) and uid not in self._memory]
        )
        deleted: dict[str, float | None] = {uid: None for uid in uids if uid not in documents}
        for uid, document in documents.items():
            try:
                experiment = WATCHED_EXPERIMENT.decode(document)
            except ValidationError as error:
                failed[uid] = Poison(f"unreadable experiment document: {error}")
                continue
            rule = experiment.rule
            if rule is not None and rule.name in self._rules:
                if uid not in self._failures:
                    watched += await self._remembered(experiment, rule)
                continue
            self._memory.drop(uid)
            if experiment.phase is ExperimentPhase.DELETED:
                deleted[uid] = experiment.completed_at
        await self._purging.purge(deleted)
        return watched

    async def _remembered(
        self, experiment: WatchedExperiment, rule: AlgorithmSpec
    ) -> list[_Watched]:
        """Nothing if its rule fails."""
        try:
            remembered = self._memory.of(experiment, rule)
        except RuleFailed as error:
            await self._give_up(experiment, error)
            return []
        return [_Watched(experiment=experiment, remembered=remembered)]

    async def _caught_up(self, watched: Sequence[_Watched], now: float) -> list[_Watched]:
        """Those whose rule has taken in what was completed."""
        done = []
        for each in watched:
            try:
                await self._completed.catch_up(each.experiment, each.remembered, now)
            except RuleFailed as error:
                await self._give_up(each.experiment, error)
            else:
                done.append(each)
        return done

    async def _give_up(self, experiment: WatchedExperiment, error: RuleFailed) -> None:
        """Its trials go on unstopped."""
        self._memory.drop(experiment.id)
        await self._failures.add(experiment, error)

    async def _load(self, watched: Sequence[_Watched]) -> list[_Watched]:
        """Remember the evidence of every running attempt, and of no other; those whose rule takes
        it in."""
        missing: dict[str, _Watched] = {}
        for each in watched:
            running, evidence = each.experiment.running, each.remembered.evidence
            for run in evidence.keys() - running.keys():
                del evidence[run]
            missing |= {run: each for run in running if run not in evidence}
        stored = await self._documents.read(list(missing)) if missing else {}
        for run, each in missing.items():
            kept = stored.get(run) or _nothing_yet(each.experiment, run)
            each.remembered.evidence[run] = kept
        done = []
        for each in watched:
            try:
                for run in sorted(missing.keys() & each.remembered.evidence.keys()):
                    _tell_peers(each.remembered, each.remembered.evidence[run])
            except RuleFailed as error:
                await self._give_up(each.experiment, error)
            else:
                done.append(each)
        return done

    async def _judge(
        self, watched: Sequence[_Watched], now: float
    ) -> tuple[list[RunEvidence], dict[str, float]]:
        """What must be stored, and when that was reported which led to a verdict; what need not be
        is remembered at once."""
        marks = [mark for each in watched for mark in _marks(each)]
        news = await self._reader.read(marks)
        changed, reported_at = list[RunEvidence](), dict[str, float]()
        for each in watched:
            try:
                judged = _judged(each.remembered, news, now)
            except RuleFailed as error:
                await self._give_up(each.experiment, error)
                continue
            evidence = each.remembered.evidence
            for run, after in judged.items():
                if must_be_stored(evidence[run], after):
                    changed.append(after)
                    if after.verdict is not None:
                        at = news[run].reported_at(after.verdict.step)
                        reported_at |= {} if at is None else {run: at}
                else:
                    evidence[run] = after
        return sorted(changed, key=lambda run: run.id), reported_at

    def _count(
        self,
        watched: Sequence[_Watched],
        stored: Sequence[RunEvidence],
        reported_at: Mapping[str, float],
    ) -> None:
        """A verdict is stored once: who is judged has none."""
        telemetry = self._parts.telemetry
        traces = {each.experiment.id: kept(each.experiment.traceparent) for each in watched}
        for run in stored:
            if run.verdict is None:
                continue
            telemetry.add(metrics.STOP_VERDICTS, rule=run.verdict.rule)
            if run.id in reported_at:
                delay_s = self._parts.clock.now() - reported_at[run.id]
                telemetry.observe(metrics.STOP_VERDICT, delay_s, traces[run.uid])

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
        notices: list[Event] = []
        tracing = self._parts.telemetry.tracing
        for each in watched:
            uid = each.experiment.id
            stopped = [run for run in stored if run.uid == uid and run.verdict is not None]
            asked = stop_requests(each.experiment, stopped, now)
            notices += told_in(asked, tracing, each.experiment.traceparent, uid)
            for run in stopped:
                if tracing.on:
                    tell_verdict(tracing, each.experiment, run, self._parts.clock.now())
                self._parts.telemetry.log.info("stopped early", run=run.id, trial=run.trial)
        await self._parts.outbox.publish_notices(notices)

    async def sweep(self) -> Sequence[str]:
        """Active experiments with a stopping rule, and deleted ones."""
        uids = await active_experiments(self._parts.store)
        unknown = [uid for uid in uids if uid not in self._has_rule]
        specs = await self._parts.store.get_many(EXPERIMENTS.name, unknown, fields=("spec",))
        has_rule = {uid: self._has_rule[uid] for uid in uids if uid in self._has_rule}
        for uid, document in specs.items():
            # One that is not as it should be is for its owner to tell, and has no rule to keep.
            rule = (document.get("spec") or {}).get("early_stopping")
            has_rule[uid] = rule is not None and rule["name"] in self._rules
            if rule is not None and not has_rule[uid]:
                # Installed where it was submitted, but not here.
                self._parts.telemetry.log.warning("no such rule here", uid=uid, rule=rule["name"])
        self._has_rule = has_rule
        self._memory.keep(has_rule.keys())
        self._failures.keep(has_rule.keys())
        return [*(uid for uid in uids if has_rule.get(uid)), *await self._purging.due()]

    async def _remove(self, uid: str) -> bool:
        await self._parts.store.delete(EVIDENCE.name, Query(prefix=f"{uid}."))
        return True


def _tell_peers(remembered: Remembered, kept: RunEvidence) -> None:
    """A report is a fact, whether its evidence is stored first by this replica or by another."""
    if isinstance(remembered.rule, PeerRule):
        with guarded(remembered.limit):
            remembered.rule.hear(kept.trial, kept.values)


def _names_rule(document: Mapping[str, Any]) -> bool:
    return bool(document.get("spec", {}).get("early_stopping"))


def _judged(remembered: Remembered, news: Mapping[str, News], now: float) -> dict[str, RunEvidence]:
    """By run, of those with news. Raises RuleFailed."""
    known, judged = remembered.evidence, {}
    # In order: who is judged later is compared with who came to a step before.
    for run in sorted(known.keys() & news.keys()):
        rule, limit = remembered.rule, remembered.limit
        judged[run] = judge(remembered.name, rule, known[run], news[run], now, limit)
        _tell_peers(remembered, judged[run])
    return judged


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
