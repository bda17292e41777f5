"""Typed, read-only looks at what the other services own."""

from collections.abc import Mapping, Sequence

from trialbus.contracts.collections import ANSWERS, EVIDENCE, EXPERIMENTS, RUNS, TRIALS
from trialbus.contracts.documents import (
    ANSWER,
    EXPERIMENT,
    RUN,
    TRIAL,
    Document,
    DocumentCodec,
)
from trialbus.kernel.evidence import StoppingVerdict, StoredVerdict
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import answer_id, is_name, run_id, trial_id
from trialbus.kernel.run import Run, RunPhase
from trialbus.kernel.suggestion import Answer
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.failures import NotThere, Unreadable
from trialbus_gateway.app.readable import readable, readable_by_key
from trialbus_gateway.core.trial_story import TrialFacts

# Answers looked at in one step of the search for the one that holds a point.
_PROBES = 16
_VERDICT = DocumentCodec(StoredVerdict)
_TROUBLED = (TrialPhase.FAILED, TrialPhase.METRICS_UNAVAILABLE)


class Documents:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def living(self, namespace: str, name: str) -> Experiment:
        """The experiment that has this name now. Raises NotThere, Unreadable."""
        check_name("namespace", namespace)
        check_name("name", name)
        query = Query(equals={"alive_name": f"{namespace}/{name}"}, limit=1)
        found = await self._store.find(EXPERIMENTS.name, query)
        if not found:
            raise NotThere(f"there is no experiment {namespace}/{name}")
        return EXPERIMENT.decode(found[0])

    async def experiments(
        self, uids: Sequence[str], *, history: bool = False
    ) -> dict[str, Experiment]:
        """Deleted ones are absent; history: those that were archived are not."""
        found = await self._store.get_many(EXPERIMENTS.name, sorted(set(uids)))
        states = readable_by_key(EXPERIMENT, found)
        return {
            uid: state
            for uid, state in states.items()
            if state.alive_name is not None or (history and _is_archived(state))
        }

    async def readable(self, uid: str) -> Experiment:
        """The experiment of this uid, living or archived. Raises NotThere, Unreadable."""
        check_name("uid", uid)
        found = await self.experiments([uid], history=True)
        if uid not in found:
            raise NotThere(f"there is no experiment with the uid {uid}")
        return found[uid]

    async def archived(self, namespace: str | None, limit: int) -> list[Experiment]:
        """Deleted ones whose history was kept, the last deleted first."""
        equals = {"phase": ExperimentPhase.ARCHIVED.value}
        if namespace is not None:
            equals["namespace"] = namespace
        query = Query(equals=equals, order="-completed_at", limit=limit)
        found = await self._store.find(EXPERIMENTS.name, query)
        return readable(EXPERIMENT, found)

    async def trial(self, name: str) -> Trial:
        """Raises NotThere, Unreadable."""
        check_name("trial", name)
        found = await self._store.find(TRIALS.name, Query(equals={"name": name}))
        if not found:
            raise NotThere(f"there is no trial {name}")
        return max((TRIAL.decode(document) for document in found), key=lambda it: it.created_at)

    async def parent_of(self, trial: str) -> int | None:
        """Index of the trial whose checkpoint this one, by its id, goes on from."""
        found = await self._store.get_many(TRIALS.name, [trial], fields=("parent",))
        parent: int | None = found.get(trial, {}).get("parent")
        return parent

    async def open_runs(self, state: Experiment) -> dict[int, Run]:
        """By index, of the newest attempts of open trials."""
        keys = _open_run_ids(state)
        found = await self._store.get_many(RUNS.name, list(keys))
        return {keys[key]: run for key, run in readable_by_key(RUN, found).items()}

    async def running(self, states: Sequence[Experiment]) -> dict[str, frozenset[int]]:
        """By uid, the open trials whose newest attempt has a run that has not ended."""
        keys = {
            key: (state.id, index)
            for state in states
            for key, index in _open_run_ids(state).items()
        }
        found = await self._store.get_many(RUNS.name, list(keys), fields=("phase",))
        alive = [keys[key] for key, it in found.items() if it["phase"] == RunPhase.RUNNING.value]
        return {
            state.id: frozenset(index for uid, index in alive if uid == state.id)
            for state in states
        }

    async def newest_trials(
        self, uid: str, limit: int, *, fields: Sequence[str] | None = None
    ) -> list[Document]:
        """Of an experiment, oldest first."""
        query = Query(
            equals={"uid": uid},
            order="-index",
            limit=limit,
            fields=None if fields is None else tuple(fields),
        )
        return (await self._store.find(TRIALS.name, query))[::-1]

    async def newest_runs(
        self, states: Mapping[str, Experiment], trials: Sequence[Trial]
    ) -> dict[str, Run]:
        """By trial id, of the newest attempts of trials that have not ended."""
        keys = {}
        for trial in trials:
            if not trial.ended:
                facts = TrialFacts(trial=trial, experiment=states.get(trial.uid))
                keys[run_id(trial.uid, trial.index, facts.attempt)] = trial.id
        found = await self._store.get_many(RUNS.name, list(keys))
        return {keys[key]: run for key, run in readable_by_key(RUN, found).items()}

    async def troubled(self, state: Experiment, most: int) -> list[Trial]:
        """The last to end of those that failed or were not observed, oldest first."""
        if not (state.counts.failed or state.counts.metrics_unavailable):
            return []
        # Backwards along the index of (uid, finished).
        query = Query(
            equals={"uid": state.id},
            among={"phase": [phase.value for phase in _TROUBLED]},
            order="-finished",
            limit=most,
        )
        found = await self._store.find(TRIALS.name, query)
        return readable(TRIAL, reversed(found))

    async def first_opened_at(self, state: Experiment) -> float | None:
        """When its first trial was opened, which is when it began to run."""
        key = trial_id(state.id, 0)
        found = await self._store.get_many(TRIALS.name, [key], fields=("created_at",))
        return float(found[key]["created_at"]) if key in found else None

    async def facts(self, trial: Trial) -> TrialFacts:
        """All that is written about a trial, as explanations need it."""
        state = (await self.experiments([trial.uid])).get(trial.uid)
        facts = TrialFacts(trial=trial, experiment=state)
        keys = [run_id(trial.uid, trial.index, attempt) for attempt in range(1, facts.attempt + 1)]
        found = await self._store.get_many(RUNS.name, keys)
        runs = [RUN.decode(found[key]) for key in keys if key in found]
        return TrialFacts(
            trial=trial,
            experiment=state,
            answer=None if state is None else await self._answer(state, trial.index),
            runs=runs,
            verdicts=await self._verdicts(keys),
        )

    async def run(self, trial: Trial, *, before: int = 0) -> Run | None:
        """Of its newest attempt, or of so many before; None while no launcher has taken it."""
        state = (await self.experiments([trial.uid])).get(trial.uid)
        attempt = TrialFacts(trial=trial, experiment=state).attempt - before
        key = run_id(trial.uid, trial.index, attempt)
        found = await self._store.get_many(RUNS.name, [key])
        return RUN.decode(found[key]) if key in found else None

    async def _verdicts(self, keys: Sequence[str]) -> dict[int, StoppingVerdict]:
        """What a stopping rule said of each attempt: its document may hold a verdict."""
        found = await self._store.get_many(EVIDENCE.name, keys, fields=("verdict",))
        verdicts = {key: _VERDICT.decode(document).verdict for key, document in found.items()}
        told = ((attempt, verdicts.get(key)) for attempt, key in enumerate(keys, start=1))
        return {attempt: verdict for attempt, verdict in told if verdict is not None}

    async def _answer(self, state: Experiment, index: int) -> Answer | None:
        """The answer that holds the point of trial `index`: answers are numbered in the order of
        their points, so a search by a few at a time finds it in a handful of reads."""
        low, high = 1, state.next_request - 1
        while low < high:
            step = max(1, (high - low) // _PROBES)
            firsts = await self._firsts(state.id, range(low, high + 1, step))
            before = [number for number, first in firsts.items() if first <= index]
            behind = [number for number, first in firsts.items() if first > index]
            narrowed = (max(before, default=low), min(behind, default=high + 1) - 1)
            if narrowed == (low, high):
                # What lies behind is not answered yet.
                break
            low, high = narrowed
        key = answer_id(state.id, low)
        found = await self._store.get_many(ANSWERS.name, [key])
        if key not in found:
            return None
        answer = ANSWER.decode(found[key])
        return answer if 0 <= index - answer.first < len(answer.points) else None

    async def settings_given_back(self, state: Experiment) -> tuple[tuple[str, str], ...]:
        """By its algorithm, with its last answer; the newest request may not be answered yet."""
        newest = state.next_request - 1
        keys = [answer_id(state.id, number) for number in (newest, newest - 1) if number > 0]
        found = await self._store.get_many(ANSWERS.name, keys, fields=("settings",))
        last = next((found[key] for key in keys if key in found), {})
        return tuple((str(name), str(value)) for name, value in last.get("settings") or ())

    async def _firsts(self, uid: str, numbers: range) -> dict[int, int]:
        keys = {answer_id(uid, number): number for number in numbers}
        found = await self._store.get_many(ANSWERS.name, list(keys), fields=("first",))
        return {keys[key]: int(document["first"]) for key, document in found.items()}


def _open_run_ids(state: Experiment) -> dict[str, int]:
    return {
        run_id(state.id, int(key), open_.attempt): int(key) for key, open_ in state.open.items()
    }


def check_name(what: str, text: str) -> None:
    if not is_name(text):
        allowed = "lower-case letters, digits and '-', at most 63"
        raise Unreadable(f"{what}: not a name: {text[:100]!r} ({allowed})")


def _is_archived(state: Experiment) -> bool:
    return state.phase is ExperimentPhase.ARCHIVED
