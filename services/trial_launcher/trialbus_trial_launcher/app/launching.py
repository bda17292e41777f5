"""Reacting to "experiment X changed": start, adopt and stop runs until they are as it wants."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from trialbus.contracts.collections import EVIDENCE, EXPERIMENTS, RUNS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, RUN, TRIAL
from trialbus.kernel.checkpoints import checkpoints_of
from trialbus.kernel.errors import Poison, Refused
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.ids import collector_run_id, run_id, trial_id
from trialbus.kernel.limits import MAX_MESSAGE_CHARS, TRACED_TRIALS
from trialbus.kernel.run import Run, RunPhase, StopReason
from trialbus.kernel.spec import TrialsBy
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import Launcher, Plan, RunState
from trialbus.ports.store import Outcome, Query, Write
from trialbus.runtime.parts import Parts
from trialbus.runtime.sweeping import Purging, active_experiments
from trialbus_trial_launcher.app.following import Following
from trialbus_trial_launcher.app.hand import Hand
from trialbus_trial_launcher.app.leasing.leasing import Leasing
from trialbus_trial_launcher.app.places import RunPlace
from trialbus_trial_launcher.app.pruning import Pruning
from trialbus_trial_launcher.app.run_notices import begun_notices
from trialbus_trial_launcher.app.run_spans import in_traces, tell_runs
from trialbus_trial_launcher.core.actions import (
    Intend,
    NeverStart,
    Stop,
    TakeOver,
    decide,
    wanted_runs,
)

_CANNOT_EXECUTE = 126

Begin = tuple[Experiment, Intend | NeverStart]


class Launching:
    """The trial launcher's reaction."""

    def __init__(
        self,
        parts: Parts,
        launcher: Launcher,
        following: Following,
        place: RunPlace,
        leasing: Leasing,
        pruning: Pruning,
        hand: Hand,
    ) -> None:
        self._parts = parts
        self._launcher = launcher
        self._following = following
        self._place = place
        self._leasing = leasing
        self._pruning = pruning
        self._hand = hand
        self._purging = Purging(parts.store, parts.clock, self._remove)
        # Runs of wanted attempts that this process found claimed: ended, or of other hosts.
        self._recorded: dict[str, dict[str, Run]] = {}

    async def react(self, uids: Sequence[str]) -> Mapping[str, Exception]:
        # Of those for workers a few fields say all: they may change hundreds of times a second.
        asked = [uid for uid in uids if self._leasing.knows(uid)]
        gone = await self._leasing.look(asked)
        others = [uid for uid in uids if uid in gone or uid not in asked]
        documents = await self._parts.store.get_many(EXPERIMENTS.name, others) if others else {}
        failed: dict[str, Exception] = {}
        states: list[Experiment] = []
        for uid, document in documents.items():
            try:
                states.append(EXPERIMENT.decode(document))
            except ValidationError as error:
                failed[uid] = Poison(f"unreadable experiment document: {error}")
        for state in states:
            if state.phase is ExperimentPhase.DELETED:
                await self._purging.purge({state.id: state.completed_at})
        living = [state for state in states if state.phase is not ExperimentPhase.DELETED]
        verdicts = await self._verdicts(living)
        new = [state.id for state in living if state.spec.trials_by is TrialsBy.WORKERS]
        await self._leasing.look(new)
        ours = [state for state in living if state.spec.trials_by is TrialsBy.LAUNCHER]
        self._pruning.see(living)
        taken = await self._begin(await self._act(ours, verdicts))
        if taken:
            # Another process, or this one in an earlier life, has begun them: see what they are.
            await self._learn(taken)
            await self._act(ours, verdicts)
        return failed

    async def _act(self, states: Sequence[Experiment], verdicts: frozenset[str]) -> list[Begin]:
        """Stop and take over what is to be; what is to begin is returned."""
        begins: list[Begin] = []
        for state in states:
            wanted = wanted_runs(state)
            known = self._recorded.pop(state.id, {})
            self._recorded[state.id] = {key: run for key, run in known.items() if key in wanted}
            self._look_at_hand(state.id, wanted)
            actions = decide(
                state,
                followed=self._following.ids(state.id),
                recorded=self._recorded[state.id],
                verdicts=verdicts,
                host=self._place.host,
            )
            stops = {it.run_id: it.reason for it in actions if isinstance(it, Stop)}
            for action in actions:
                match action:
                    case Intend() | NeverStart():
                        begins.append((state, action))
                    case TakeOver(run=run):
                        del self._recorded[state.id][run.id]
                        await self._take_over(state, run, stops.get(run.id, ""))
                    case Stop(run_id=key, reason=reason):
                        await self._following.stop(key, reason)
            if not self._recorded[state.id]:
                del self._recorded[state.id]
        return begins

    def _look_at_hand(self, uid: str, wanted: Mapping[str, int]) -> None:
        """What others have ended, and what nobody wants any more, was never followed here."""
        over = {key for key, run in self._recorded[uid].items() if run.ended}
        self._hand.keep(uid, (wanted.keys() - over) | self._following.ids(uid))

    async def _learn(self, taken: Sequence[str]) -> None:
        documents = await self._parts.store.get_many(RUNS.name, taken)
        for key, document in documents.items():
            run = RUN.decode(document)
            self._recorded.setdefault(run.uid, {})[key] = run

    async def _verdicts(self, states: Sequence[Experiment]) -> frozenset[str]:
        """Runs that a stopping rule wants stopped (the evidence documents say so)."""
        keys = [
            key
            for state in states
            if state.spec.early_stopping is not None
            for key in wanted_runs(state)
        ]
        if not keys:
            return frozenset()
        documents = await self._parts.store.get_many(EVIDENCE.name, keys, fields=("verdict",))
        return frozenset(
            key
            for key, document in documents.items()
            if document.get("verdict") is not None and document["verdict"]["stop"]
        )

    async def _begin(self, begins: Sequence[Begin]) -> list[str]:
        """Claim in the store, then start: who loses the claim starts nothing. Returns the runs
        that were claimed before."""
        if not begins:
            return []
        trials = await self._trials(begins)
        claims: list[tuple[Experiment, Run]] = []
        plans: dict[str, Sequence[Plan]] = {}
        for state, action in begins:
            trial = trials.get(trial_id(state.id, action.index))
            if trial is None:
                continue  # its document is on its way; the sweep comes again
            run = self._claim(state, trial, action)
            if isinstance(action, Intend):
                try:
                    plans[run.id] = self._place.plans(state, trial, run)
                except Refused as refused:
                    run = _unstartable(run, str(refused))
            claims.append((state, run))
        outcomes = await self._parts.store.commit(
            RUNS.name, [Write(base=None, document=RUN.encode(run)) for _, run in claims]
        )
        results = list(zip(claims, outcomes, strict=True))
        mine = [claim for claim, outcome in results if outcome is Outcome.DONE]
        self._tell_hand(mine)
        await self._start(mine, plans)
        runs, tracing = [run for _, run in mine], self._parts.telemetry.tracing
        tell_runs(tracing, runs)
        await self._parts.outbox.publish_notices(in_traces(begun_notices(runs), tracing, runs))
        return [run.id for (_, run), outcome in results if outcome is not Outcome.DONE]

    def _tell_hand(self, mine: Sequence[tuple[Experiment, Run]]) -> None:
        for state, run in mine:
            self._hand.claim(run, _opened_at(state, run))
            if run.ended:
                if not run.stop_reason:
                    self._hand.failed(run.id, "command")
                self._hand.ended(run)

    async def _trials(self, begins: Sequence[Begin]) -> dict[str, Trial]:
        ids = [trial_id(state.id, action.index) for state, action in begins]
        documents = await self._parts.store.get_many(TRIALS.name, ids)
        return {key: TRIAL.decode(document) for key, document in documents.items()}

    async def _start(
        self, mine: Sequence[tuple[Experiment, Run]], plans: Mapping[str, Sequence[Plan]]
    ) -> None:
        begun = [(state, run) for state, run in mine if run.id in plans]
        await self._launcher.start([plan for _, run in begun for plan in plans[run.id]])
        for state, run in begun:
            self._follow(state, run, plans[run.id])

    def _follow(self, state: Experiment, run: Run, plans: Sequence[Plan]) -> None:
        source = self._place.source(state, run, plans)
        self._following.add(run, source, state.spec.objective.metric)

    async def _take_over(self, state: Experiment, run: Run, stop: str) -> None:
        """A run that another process of this host began: it may live, be over, or never have
        been spawned."""
        plans: Sequence[Plan] = ()
        self._hand.take(run, _opened_at(state, run))
        if self._place.is_told:
            if not (plans := await self._plans_again(state, run)):
                return
            await self._launcher.take_over(plans)
        status = (await self._launcher.status([run.id]))[run.id]
        if status.state is RunState.RUNNING and not self._place.is_told:
            self._hand.found(run.id)
        if self._place.starts_again(state, run, status, plans) and not (stop and plans):
            if not (plans := plans or await self._plans_again(state, run)):
                return
            # What has been started is left alone.
            await self._launcher.start(plans)
            status = (await self._launcher.status([run.id]))[run.id]
        if stop and status.state is RunState.ABSENT:
            await self._launcher.stop(run.id, reason=stop, grace_s=0.0)
        self._follow(state, run, plans)
        if status.state is not RunState.RUNNING:
            self._following.end([run.id])

    async def _plans_again(self, state: Experiment, run: Run) -> Sequence[Plan]:
        """None of them: it could never be started, which is recorded, or its trial is gone."""
        again = Intend(index=run.index, attempt=run.attempt)
        trial = (await self._trials([(state, again)])).get(trial_id(state.id, run.index))
        if trial is None:
            return ()
        try:
            return self._place.plans(state, trial, run)
        except Refused as refused:
            after = replace(_unstartable(run, str(refused)), version=run.version + 1)
            self._following.record(run, after)
            return ()

    def _claim(self, state: Experiment, trial: Trial, action: Intend | NeverStart) -> Run:
        now = self._parts.clock.now()
        never = isinstance(action, NeverStart)
        return Run(
            id=run_id(state.id, action.index, action.attempt),
            uid=state.id,
            index=action.index,
            attempt=action.attempt,
            version=1,
            namespace=state.namespace,
            experiment=state.name,
            trial=trial.name,
            phase=RunPhase.FINISHED if never else RunPhase.RUNNING,
            host=self._place.host,
            boot_id=self._place.boot_id,
            created_at=now,
            started_at=None if never else now,
            finished_at=now if never else None,
            stop_reason=action.reason if isinstance(action, NeverStart) else "",
            message="stopped before it was started" if never else "",
            traceparent=state.traceparent if action.index < TRACED_TRIALS else None,
        )

    async def _remove(self, uid: str) -> bool:
        """Of a deleted experiment: its runs here and in the store."""
        query = Query(prefix=f"{uid}.")
        documents = await self._parts.store.find(RUNS.name, query)
        local = [str(it["_id"]) for it in documents if it["host"] == self._place.host]
        try:
            await self._launcher.forget([*local, *await self._collectors(local)])
        except Refused as refused:
            # Something of it still lives: it is being stopped, the sweep comes again.
            self._parts.telemetry.log.warning("cannot forget runs yet", reason=str(refused))
            return False
        for root in self._place.roots():
            await self._launcher.forget_checkpoints(checkpoints_of(root, uid))
        await self._parts.store.delete(RUNS.name, query)
        self._leasing.forget(uid)
        self._hand.keep(uid, ())
        return True

    async def _collectors(self, run_ids: Sequence[str]) -> list[str]:
        """Of these runs those that were started beside them; what lives of them is stopped."""
        grace_s = self._parts.settings.kill_grace_s
        looks = await self._launcher.status([collector_run_id(run_id) for run_id in run_ids])
        for key, status in looks.items():
            if status.state is RunState.RUNNING:
                await self._launcher.stop(key, reason=StopReason.DELETED.value, grace_s=grace_s)
        return [key for key, status in looks.items() if status.state is not RunState.ABSENT]

    async def sweep(self) -> Sequence[str]:
        """Active experiments, and deleted ones of which something may be left."""
        return [*await active_experiments(self._parts.store), *await self._purging.due()]


def _opened_at(state: Experiment, run: Run) -> float:
    trial = state.open.get(str(run.index))
    return run.created_at if trial is None else trial.opened_at


def _unstartable(run: Run, why: str) -> Run:
    """Its values do not fit its template: it ends as a shell ends what it cannot execute."""
    return replace(
        run,
        phase=RunPhase.FINISHED,
        started_at=None,
        finished_at=run.created_at,
        exit_code=_CANNOT_EXECUTE,
        message=why[:MAX_MESSAGE_CHARS],
    )
