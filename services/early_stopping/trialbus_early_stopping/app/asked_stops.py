"""Katib's SetTrialStatus: somebody else has judged a trial, and asks that it be stopped early."""

import math
from dataclasses import replace

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.kernel.errors import NotNow, NotThere, Problem, Transient
from trialbus.kernel.evidence import StoppingVerdict
from trialbus.kernel.limits import MAX_COMMIT_RETRIES
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.trial import TrialPhase
from trialbus.runtime import metrics
from trialbus.runtime.named_trials import NamedTrial, NamedTrials
from trialbus.runtime.parts import Parts
from trialbus_early_stopping.app.completed import EvidenceDocuments
from trialbus_early_stopping.app.evidence_documents import RunEvidence
from trialbus_early_stopping.app.notices import stop_requests
from trialbus_early_stopping.app.views import (
    EXPERIMENT_FIELDS,
    WATCHED_EXPERIMENT,
    WatchedExperiment,
)

REASON = "a rule outside asked for it (SetTrialStatus)"


class AskedStops:
    """The verdict is stored as one of our own: it stands for ever, and the launcher obeys it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._trials = NamedTrials(parts.store)
        self._documents = EvidenceDocuments(parts.store)

    async def stop(self, name: str) -> None:
        """Returns when the verdict is stored, now or before. Raises NotThere, NotNow (it has ended
        in another way, or its experiment has no early stopping), Transient."""
        trial = await self._trials.find(name)
        if trial.phase is TrialPhase.EARLY_STOPPED:
            return
        if trial.ended:
            raise _not_now(name, f"it has ended: {trial.phase.value}")
        experiment = await self._experiment(trial)
        for _ in range(MAX_COMMIT_RETRIES):
            if await self._judge(experiment, trial):
                return
        raise Transient("lost every compare-and-set race")

    async def _experiment(self, trial: NamedTrial) -> WatchedExperiment:
        found = await self._parts.store.get_many(
            EXPERIMENTS.name, [trial.uid], fields=EXPERIMENT_FIELDS
        )
        if trial.uid not in found:
            raise NotThere(f"there is no trial {trial.name!r}")
        return WATCHED_EXPERIMENT.decode(found[trial.uid])

    async def _judge(self, experiment: WatchedExperiment, trial: NamedTrial) -> bool:
        """Whether a verdict is stored; if not, another was faster with something."""
        rule = experiment.spec.early_stopping
        if rule is None:
            raise _not_now(trial.name, "its experiment has no earlyStopping")
        run, now = str(trial.run), self._parts.clock.now()
        known = (await self._documents.read([run])).get(run)
        if known is not None and known.verdict is not None:
            return True
        before = known or RunEvidence(
            id=run, uid=trial.uid, version=0, trial=trial.name, attempt=trial.attempt
        )
        verdict = StoppingVerdict(
            rule=rule.name,
            stop=True,
            step=len(before.values),
            reason=REASON,
            best=_best(before, experiment.spec.objective.type),
            median=None,
            completed=0,
            watermark=0,
            to_byte=before.to_byte,
            decided_at=now,
        )
        stored = await self._documents.commit([replace(before, verdict=verdict)], now)
        if run not in stored:
            self._parts.telemetry.add(metrics.CONFLICTS)
            return False
        self._parts.telemetry.add(metrics.STOP_VERDICTS, rule=rule.name)
        self._parts.telemetry.log.info("stopped early", run=run, trial=trial.name, reason=REASON)
        notices = stop_requests(experiment, list(stored.values()), now)
        await self._parts.outbox.publish_notices(notices)
        return True


def _best(run: RunEvidence, objective: ObjectiveType) -> float:
    """NaN: it has reported nothing that is a number."""
    numbers = [value for value in run.values if not math.isnan(value)] or [math.nan]
    return min(numbers) if objective is ObjectiveType.MINIMIZE else max(numbers)


def _not_now(trial: str, why: str) -> NotNow:
    return NotNow([Problem(field=trial, message=why)])
