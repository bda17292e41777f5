"""load -> decide -> commit -> let the trial documents follow, for a group of experiments."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from trialbus.contracts.collections import EXPERIMENTS, TRIALS, WARM_TRIALS
from trialbus.contracts.documents import EXPERIMENT, Document
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.limits import (
    ASKED_REST_S,
    ASKED_TRIAL_DOCUMENT_S,
    DELETED_RETENTION_S,
    MAX_COMMIT_RETRIES,
)
from trialbus.kernel.spec import TrialsBy
from trialbus.ports.store import Outcome, Query, Write
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus.runtime.sweeping import Purging, active_experiments
from trialbus_experiment.app.counting import Counting
from trialbus_experiment.app.spans import tell_experiment, with_told
from trialbus_experiment.app.trial_documents import TrialDocuments
from trialbus_experiment.app.views import Views
from trialbus_experiment.core.commands import expire
from trialbus_experiment.core.decide import decide

_SWEPT_EXPIRED = 100
_KEPT_PHASES = (ExperimentPhase.SUCCEEDED, ExperimentPhase.FAILED, ExperimentPhase.ARCHIVED)


class ExperimentReactor:
    """The experiment service's reaction to "experiment X changed"."""

    def __init__(self, parts: Parts, counting: Counting | None = None) -> None:
        self._parts = parts
        self._counting = counting or Counting(parts.telemetry, parts.clock)
        self._views = Views(parts.store)
        self._trials = TrialDocuments(parts.store, parts.outbox, parts.telemetry)
        self._purging = Purging(parts.store, parts.clock, self._remove_trials)
        # Living experiments whose trials workers ask for.
        self._asked: set[str] = set()

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception]:
        """Advance each experiment as far as what is seen allows."""
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
        documents = await self._parts.store.get_many(EXPERIMENTS.name, uids)
        states = self._decode(documents, failed)
        now = self._parts.clock.now()
        observed = await self._views.observe(
            list(states.values()), self._trials.settled(states), now
        )
        changed: dict[str, Experiment] = {}
        for uid, state in states.items():
            kept = self._parts.outbox.unsent(EXPERIMENTS.name, uid, state.outbox)
            lean = replace(state, outbox=kept, outbox_at=state.outbox_at if kept else None)
            self._note_kind(state)
            decision = decide(lean, observed[uid], self._parts.clock.now())
            if decision.state is not lean:
                changed[uid] = with_told(self._parts.telemetry.tracing, decision.state)
                self._parts.telemetry.log.debug("decided", uid=uid, reason=decision.reason)
        lost = await self._commit(documents, changed)
        current = {uid: changed.get(uid, state) for uid, state in states.items() if uid not in lost}
        committed = [state for uid, state in changed.items() if uid not in lost]
        for state in committed:
            tell_experiment(self._parts.telemetry.tracing, states[state.id], state)
        for state in committed:
            self._counting.committed(states[state.id], state, observed[state.id].runs)
        # Workers get their trials without documents; launchers find them there.
        self._offer([it for it in committed if it.spec.trials_by is TrialsBy.WORKERS])
        await self._trials.follow(list(current.values()), observed, self._parts.clock.now())
        self._offer([it for it in committed if it.spec.trials_by is not TrialsBy.WORKERS])
        # When the documents of young trials are due, nothing else may wake it.
        young = [uid for uid in current if self._trials.waiting(uid)]
        self._parts.nudge(young, after_s=ASKED_TRIAL_DOCUMENT_S)
        again = [uid for uid, state in current.items() if _waits_for_settling(state)]
        for state in current.values():
            await self._clean_up(state)
        return [*lost, *again]

    def _decode(
        self, documents: Mapping[str, Document], failed: dict[str, Exception]
    ) -> dict[str, Experiment]:
        states = {}
        for uid, document in documents.items():
            try:
                states[uid] = EXPERIMENT.decode(document)
            except ValidationError as error:
                failed[uid] = Poison(f"unreadable experiment document: {error}")
        return states

    def _note_kind(self, state: Experiment) -> None:
        if state.spec.trials_by is TrialsBy.WORKERS and not state.ended:
            self._asked.add(state.id)
        else:
            self._asked.discard(state.id)

    async def _commit(
        self, documents: Mapping[str, Document], changed: Mapping[str, Experiment]
    ) -> list[str]:
        if not changed:
            return []
        writes = [
            Write(base=documents[uid], document=EXPERIMENT.encode(state))
            for uid, state in changed.items()
        ]
        outcomes = await self._parts.store.commit(EXPERIMENTS.name, writes)
        lost = [
            uid
            for uid, outcome in zip(changed, outcomes, strict=True)
            if outcome is not Outcome.DONE
        ]
        self._parts.telemetry.add(metrics.CONFLICTS, len(lost))
        return lost

    def _offer(self, states: Sequence[Experiment]) -> None:
        for state in states:
            self._parts.outbox.offer(EXPERIMENTS.name, state.id, state.outbox, urgent=True)

    async def _clean_up(self, state: Experiment) -> None:
        """Drop what this process remembers of what is over."""
        at_rest = state.ended or state.phase is ExperimentPhase.ARCHIVED
        if at_rest or state.phase is ExperimentPhase.DELETED:
            self._views.forget(state.id)
            self._trials.forget(state.id)
            self._counting.forget(state.id)
        if state.phase is ExperimentPhase.DELETED:
            await self._purging.purge({state.id: state.completed_at})

    async def _remove_trials(self, uid: str) -> bool:
        await self._parts.store.delete(TRIALS.name, Query(equals={"uid": uid}))
        await self._parts.store.delete(WARM_TRIALS.name, Query(prefix=uid))
        return True

    def rest_s(self, uid: str) -> float:
        """Workers end trials in milliseconds; many ends are one commit."""
        return ASKED_REST_S if uid in self._asked else 0.0

    async def sweep(self) -> Sequence[str]:
        """Every experiment that is not at rest, and deleted ones of which trials may be left;
        what has outlived its retention is deleted."""
        await self._expire()
        return [*await active_experiments(self._parts.store), *await self._purging.due()]

    async def _expire(self) -> None:
        now = self._parts.clock.now()
        await self._parts.store.delete(
            EXPERIMENTS.name,
            Query(
                equals={"phase": ExperimentPhase.DELETED.value},
                below={"completed_at": now - DELETED_RETENTION_S},
            ),
        )
        kept_s = self._parts.settings.finished_retention_s
        if kept_s <= 0:
            return
        for phase in _KEPT_PHASES:
            expired = await self._parts.store.find(
                EXPERIMENTS.name,
                Query(
                    equals={"phase": phase.value},
                    below={"completed_at": now - kept_s},
                    limit=_SWEPT_EXPIRED,
                ),
            )
            documents = {str(it["_id"]): it for it in expired}
            states = self._decode(documents, {})
            over = {uid: expire(state, now).state for uid, state in states.items()}
            lost = await self._commit(documents, over)
            for uid in over.keys() - set(lost):
                self._counting.committed(states[uid], over[uid])


def _waits_for_settling(state: Experiment) -> bool:
    """Its last step follows at once, now that its trial documents are written."""
    if not state.closing or state.open:
        return False
    return state.phase in (
        ExperimentPhase.ENDING,
        ExperimentPhase.DELETING,
        ExperimentPhase.SUSPENDED,
    )
