"""Why things are as they are, told from what is stored."""

from collections.abc import Mapping, Sequence

from trialbus.contracts.collections import EVIDENCE, RUNS
from trialbus.contracts.documents import RUN, DocumentCodec
from trialbus.kernel.evidence import RuleFailure, rule_failure_id
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import run_id
from trialbus.kernel.trial import Trial
from trialbus.ports.clock import Clock
from trialbus.ports.store import Store
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.core.experiment_story import tell_experiment
from trialbus_gateway.core.rule_failures import with_rule_failure
from trialbus_gateway.core.stories import Story
from trialbus_gateway.core.trial_story import TrialFacts, TrialStory, tell_trial

# Of the trials that failed, explanations tell the last few.
_TOLD_FAILURES = 3
_RULE_FAILURE = DocumentCodec(RuleFailure)


class Telling:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._documents = Documents(store)

    async def experiment(self, state: Experiment) -> Story:
        runs = await self._documents.open_runs(state)
        troubled = await self._documents.troubled(state, _TOLD_FAILURES)
        began_at = await self._documents.first_opened_at(state)
        story = tell_experiment(state, runs, troubled, self._clock.now(), began_at=began_at)
        return with_rule_failure(story, await self._rule_failure(state))

    async def _rule_failure(self, state: Experiment) -> RuleFailure | None:
        if state.spec.early_stopping is None:
            return None
        key = rule_failure_id(state.id)
        found = await self._store.get_many(EVIDENCE.name, [key])
        return _RULE_FAILURE.decode(found[key]) if key in found else None

    async def trial(self, trial: Trial) -> TrialStory:
        """All that is known of it."""
        return tell_trial(await self._documents.facts(trial), self._clock.now())

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
