"""Keeping trial documents in step with their experiment: they follow its commits, never lead."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.experiment import Experiment, OpenState
from trialbus.kernel.ids import trial_id
from trialbus.kernel.limits import ASKED_TRIAL_DOCUMENT_S
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Outcome, Store, Write
from trialbus.runtime.outbox import Outbox
from trialbus.runtime.telemetry import Telemetry
from trialbus_experiment.app.failure_lines import tell_failures
from trialbus_experiment.app.spans import in_trace, tell_trials
from trialbus_experiment.core.observed import Observed
from trialbus_experiment.core.trials import closed_trial, opened_trial

# The document as it is, None if there is none, and with its end.
_Closing = tuple[Trial | None, Trial]


class TrialDocuments:
    """Writes what the committed experiments imply. Repeats are harmless: a trial document is a
    function of its experiment's document and of immutable answers, runs and observations."""

    def __init__(self, store: Store, outbox: Outbox, telemetry: Telemetry) -> None:
        self._store = store
        self._outbox = outbox
        self._telemetry = telemetry
        self._known: dict[str, dict[int, Trial]] = {}
        self._settled: dict[str, set[int]] = {}
        self._waiting: set[str] = set()

    def settled(self, uids: Iterable[str]) -> dict[str, frozenset[int]]:
        """Closing trials whose documents are written, by experiment."""
        return {uid: frozenset(self._settled.get(uid, ())) for uid in uids}

    def waiting(self, uid: str) -> bool:
        """Whether an open trial has no document yet because it is young."""
        return uid in self._waiting

    def forget(self, uid: str) -> None:
        self._waiting.discard(uid)
        self._known.pop(uid, None)
        self._settled.pop(uid, None)

    async def follow(
        self, states: Sequence[Experiment], observed: Mapping[str, Observed], now: float
    ) -> None:
        """Insert the documents of opened trials, finish those of closed ones, in one group. A
        trial that closed before its document was made gets it whole."""
        await self._learn_closing(states, now)
        opening = [trial for state in states for trial in self._missing(state, observed, now)]
        closing = await self._told(self._closing(states, observed))
        writes = [Write(base=None, document=TRIAL.encode(trial)) for trial in opening]
        writes += [
            Write(
                base=None if before is None else TRIAL.encode(before), document=TRIAL.encode(after)
            )
            for before, after in closing
        ]
        if writes:
            outcomes = await self._store.commit(TRIALS.name, writes)
            await self._note_opened(opening, outcomes[: len(opening)])
            closed = [after for _, after in closing]
            done = await self._note_closed(closed, outcomes[len(opening) :])
            by_uid = {state.id: state for state in states}
            tell_trials(self._telemetry.tracing, by_uid, done)
            tell_failures(self._telemetry.log, by_uid, done)
        for state in states:
            self._drop_finished(state)

    def _missing(
        self, state: Experiment, observed: Mapping[str, Observed], now: float
    ) -> list[Trial]:
        """Workers may end a trial in milliseconds: the document of a young one can wait."""
        known = self._known.setdefault(state.id, {})
        answers = observed[state.id].answers
        asked = state.spec.trials_by is TrialsBy.WORKERS
        missing = []
        self._waiting.discard(state.id)
        for key, open_ in state.open.items():
            index = int(key)
            if index in known or open_.state is OpenState.PAUSED:
                continue
            if asked and now - open_.opened_at < ASKED_TRIAL_DOCUMENT_S:
                self._waiting.add(state.id)
                continue
            trial = opened_trial(state, index, open_, answers[open_.request])
            missing.append(in_trace(state, trial))
        return missing

    async def _note_opened(self, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
        there = []
        for trial, outcome in zip(trials, outcomes, strict=True):
            if outcome is Outcome.DONE:
                self._known[trial.uid][trial.index] = trial
                self._outbox.offer(TRIALS.name, trial.id, trial.outbox, urgent=False)
            else:
                there.append(trial.id)
        await self._learn(there)

    async def _learn(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        for document in (await self._store.get_many(TRIALS.name, ids)).values():
            trial = TRIAL.decode(document)
            self._known.setdefault(trial.uid, {})[trial.index] = trial

    def _due(self, states: Sequence[Experiment]) -> list[tuple[Experiment, int]]:
        return [
            (state, int(key))
            for state in states
            for key in state.closing
            if int(key) not in self._settled.setdefault(state.id, set())
        ]

    async def _learn_closing(self, states: Sequence[Experiment], now: float) -> None:
        """Of closing trials that this process does not know, and that may have a document. If a
        young one has one all the same, its insertion says so, and the next look comes with it."""
        unknown = []
        for state, index in self._due(states):
            if index in self._known.setdefault(state.id, {}):
                continue
            closing = state.closing[str(index)]
            asked = state.spec.trials_by is TrialsBy.WORKERS and closing.opened_at is not None
            young = asked and now - (closing.opened_at or 0.0) < ASKED_TRIAL_DOCUMENT_S
            if not (young and closing.attempt == 1):
                unknown.append(trial_id(state.id, index))
        await self._learn(unknown)

    def _closing(
        self, states: Sequence[Experiment], observed: Mapping[str, Observed]
    ) -> list[_Closing]:
        """Open and closed form of each trial whose end is not written yet."""
        pairs: list[_Closing] = []
        for state, index in self._due(states):
            seen = observed[state.id]
            trial = self._known[state.id].get(index)
            if trial is None:
                closing = state.closing[str(index)]
                made = opened_trial(state, index, closing, seen.answers[closing.request])
                pairs.append((None, self._closed(state, index, made, seen)))
            elif trial.ended:
                self._settled[state.id].add(index)
            else:
                pairs.append((trial, self._closed(state, index, trial, seen)))
        return pairs

    async def _told(self, pairs: Sequence[_Closing]) -> list[_Closing]:
        """Documents that are written at once need no outbox if the bus has their events before:
        until they are written the experiment's `closing` says what there is to tell."""
        whole = [after for before, after in pairs if before is None]
        events = [event for trial in whole for event in trial.outbox]
        if not events or not await self._outbox.publish_now(events):
            return list(pairs)
        return [
            (before, after if before is not None else replace(after, outbox=(), outbox_at=None))
            for before, after in pairs
        ]

    def _closed(self, state: Experiment, index: int, trial: Trial, seen: Observed) -> Trial:
        kept = self._outbox.unsent(TRIALS.name, trial.id, trial.outbox)
        closed = closed_trial(
            trial,
            kept,
            state.closing[str(index)],
            seen.runs.get(index),
            seen.observations.get(index),
            state.spec,
        )
        return in_trace(state, closed)

    async def _note_closed(
        self, closed: Sequence[Trial], outcomes: Sequence[Outcome]
    ) -> list[Trial]:
        """Those whose end was written here."""
        there, done = [], []
        for trial, outcome in zip(closed, outcomes, strict=True):
            if outcome is Outcome.DONE:
                self._settled[trial.uid].add(trial.index)
                self._outbox.offer(TRIALS.name, trial.id, trial.outbox, urgent=False)
                done.append(trial)
            else:
                # Another replica was faster: what it wrote is looked at next.
                self._known.setdefault(trial.uid, {}).pop(trial.index, None)
                there.append(trial.id)
        await self._learn(there)
        return done

    def _drop_finished(self, state: Experiment) -> None:
        known = self._known.get(state.id, {})
        for index in [i for i in known if str(i) not in state.open and str(i) not in state.closing]:
            del known[index]
        settled = self._settled.get(state.id, set())
        settled.intersection_update(int(key) for key in state.closing)
