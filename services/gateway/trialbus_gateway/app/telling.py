"""Why things are as they are, told from what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trialbus.contracts.collections import EVIDENCE, HEARTBEATS, RUNS
from trialbus.contracts.documents import HEARTBEAT, RUN, DocumentCodec
from trialbus.kernel.evidence import RuleFailure, rule_failure_id
from trialbus.kernel.experiment import Experiment, OpenTrial
from trialbus.kernel.ids import run_id
from trialbus.kernel.trial import Trial
from trialbus.ports.clock import Clock
from trialbus.ports.store import Query, Store
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.guarded_store import unguarded
from trialbus_gateway.app.readable import readable
from trialbus_gateway.core.experiment_story import tell_experiment
from trialbus_gateway.core.rule_failures import with_rule_failure
from trialbus_gateway.core.silences import (
    TOLD_SERVICES,
    Heartbeats,
    needed_by_experiment,
    needed_by_trial,
    with_silences,
)
from trialbus_gateway.core.stories import Story
from trialbus_gateway.core.trial_story import TrialFacts, TrialStory, tell_trial

# Of the trials that failed, explanations tell the last few.
_TOLD_FAILURES = 3
# Far more than there are: one for each service, and for each machine with a launcher.
_MAX_HEARTBEATS = 1_000
# Who tells of many experiments at once reads them once.
_HEARD_S = 1.0
_RULE_FAILURE = DocumentCodec(RuleFailure)


class Telling:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._documents = Documents(store)
        self._heard: Heartbeats | None = None

    async def experiment(self, state: Experiment) -> Story:
        runs = await self._documents.open_runs(state)
        troubled = await self._documents.troubled(state, _TOLD_FAILURES)
        began_at = await self._documents.first_opened_at(state)
        story = tell_experiment(state, runs, troubled, self._clock.now(), began_at=began_at)
        story = with_rule_failure(story, await self._rule_failure(state))
        return with_silences(
            story, needed_by_experiment(state, runs.values()), await self._heartbeats()
        )

    async def _heartbeats(self) -> Heartbeats:
        """Of all services: they are nobody's, and each caller may know of them."""
        now = self._clock.now()
        if self._heard is None or not 0 <= now - self._heard.now < _HEARD_S:
            query = Query(among={"service": TOLD_SERVICES}, limit=_MAX_HEARTBEATS)
            found = await unguarded(self._store).find(HEARTBEATS.name, query)
            self._heard = Heartbeats(beats=readable(HEARTBEAT, found), now=now)
        return self._heard

    async def _rule_failure(self, state: Experiment) -> RuleFailure | None:
        if state.spec.early_stopping is None:
            return None
        key = rule_failure_id(state.id)
        found = await self._store.get_many(EVIDENCE.name, [key])
        return _RULE_FAILURE.decode(found[key]) if key in found else None

    async def trial(self, trial: Trial) -> TrialStory:
        """All that is known of it."""
        facts = await self._documents.facts(trial)
        told = tell_trial(facts, self._clock.now())
        if facts.experiment is None or trial.ended or not isinstance(facts.at_hand, OpenTrial):
            return told
        needed = needed_by_trial(facts.at_hand, facts.run, facts.trials_by)
        return replace(told, story=with_silences(told.story, needed, await self._heartbeats()))

    async def trials(
        self, trials: Sequence[Trial], states: Mapping[str, Experiment]
    ) -> list[Story]:
        """Of many at once, in one grouped read: only of their newest attempts, without answers
        and verdicts. states: by uid."""
        facts = [TrialFacts(trial=it, experiment=states.get(it.uid)) for it in trials]
        keys = [run_id(it.trial.uid, it.trial.index, it.attempt) for it in facts]
        found = await self._store.get_many(RUNS.name, keys)
        now = self._clock.now()
        return [
            tell_trial(
                TrialFacts(
                    trial=it.trial,
                    experiment=it.experiment,
                    runs=[RUN.decode(found[key])] if key in found else (),
                ),
                now,
            ).story
            for it, key in zip(facts, keys, strict=True)
        ]
