"""Keeping trial documents in step with their experiment: they follow its commits, never lead."""

from collections.abc import Iterable, Mapping, Sequence

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.experiment import Experiment, OpenState
from trialbus.kernel.ids import trial_id
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Outcome, Store, Write
from trialbus.runtime.outbox import Outbox
from trialbus_experiment.core.observed import Observed
from trialbus_experiment.core.trials import closed_trial, opened_trial


class TrialDocuments:
    """Writes what the committed experiments imply. Repeats are harmless: a trial document is a
    function of its experiment's document and of immutable answers, runs and observations."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._known: dict[str, dict[int, Trial]] = {}
        self._settled: dict[str, set[int]] = {}

    def settled(self, uids: Iterable[str]) -> dict[str, frozenset[int]]:
        """Closing trials whose documents are written, by experiment."""
        return {uid: frozenset(self._settled.get(uid, ())) for uid in uids}

    def forget(self, uid: str) -> None:
        self._known.pop(uid, None)
        self._settled.pop(uid, None)

    async def follow(self, states: Sequence[Experiment], observed: Mapping[str, Observed]) -> None:
        """Insert the documents of opened trials, finish those of closed ones, in one group. A
        trial that closed before a crash let its document be made is opened first."""
        await self._open_forgotten(states, observed)
        opening = [trial for state in states for trial in self._missing(state, observed)]
        closing = self._closing(states, observed)
        writes = [Write(base=None, document=TRIAL.encode(trial)) for trial in opening]
        writes += [
            Write(base=TRIAL.encode(before), document=TRIAL.encode(after))
            for before, after in closing
        ]
        if writes:
            outcomes = await self._store.commit(TRIALS.name, writes)
            await self._note_opened(opening, outcomes[: len(opening)])
            self._note_closed([after for _, after in closing], outcomes[len(opening) :])
        for state in states:
            self._drop_finished(state)

    def _missing(self, state: Experiment, observed: Mapping[str, Observed]) -> list[Trial]:
        known = self._known.setdefault(state.id, {})
        answers = observed[state.id].answers
        missing = []
        for key, open_ in state.open.items():
            index = int(key)
            if index in known or open_.state is OpenState.PAUSED:
                continue
            missing.append(opened_trial(state, index, open_, answers[open_.request]))
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

    async def _open_forgotten(
        self, states: Sequence[Experiment], observed: Mapping[str, Observed]
    ) -> None:
        """Closing trials that this process does not know: read them, or make them."""
        unknown = [
            (state, index)
            for state, index in self._due(states)
            if index not in self._known.setdefault(state.id, {})
        ]
        await self._learn([trial_id(state.id, index) for state, index in unknown])
        missing = [
            opened_trial(
                state,
                index,
                state.closing[str(index)],
                observed[state.id].answers[state.closing[str(index)].request],
            )
            for state, index in unknown
            if index not in self._known[state.id]
        ]
        if missing:
            writes = [Write(base=None, document=TRIAL.encode(trial)) for trial in missing]
            await self._note_opened(missing, await self._store.commit(TRIALS.name, writes))

    def _closing(
        self, states: Sequence[Experiment], observed: Mapping[str, Observed]
    ) -> list[tuple[Trial, Trial]]:
        """Open and closed form of each trial whose end is not written yet."""
        pairs = []
        for state, index in self._due(states):
            trial = self._known[state.id].get(index)
            if trial is None:
                continue  # not readable yet: it stays in `closing`, the next look comes to it
            if trial.ended:
                self._settled[state.id].add(index)
            else:
                pairs.append((trial, self._closed(state, index, trial, observed[state.id])))
        return pairs

    def _closed(self, state: Experiment, index: int, trial: Trial, seen: Observed) -> Trial:
        kept = self._outbox.unsent(TRIALS.name, trial.id, trial.outbox)
        return closed_trial(
            trial,
            kept,
            state.closing[str(index)],
            seen.runs.get(index),
            seen.observations.get(index),
            state.spec,
        )

    def _note_closed(self, closed: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
        for trial, outcome in zip(closed, outcomes, strict=True):
            if outcome is Outcome.DONE:
                self._settled[trial.uid].add(trial.index)
                self._outbox.offer(TRIALS.name, trial.id, trial.outbox, urgent=False)
            else:
                # Another replica was faster: read what it wrote at the next look.
                self._known[trial.uid].pop(trial.index, None)

    def _drop_finished(self, state: Experiment) -> None:
        known = self._known.get(state.id, {})
        for index in [i for i in known if str(i) not in state.open and str(i) not in state.closing]:
            del known[index]
        settled = self._settled.get(state.id, set())
        settled.intersection_update(int(key) for key in state.closing)
