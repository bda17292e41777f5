"""Experiments whose rule has failed: stored once, so that people see it and it is left alone."""

from collections.abc import Collection, Sequence

from trialbus.contracts.collections import EVIDENCE
from trialbus.contracts.documents import DocumentCodec
from trialbus.kernel.evidence import RuleFailure, rule_failure_id
from trialbus.ports.store import Outcome, Write
from trialbus.runtime import metrics
from trialbus.runtime.parts import Parts
from trialbus_early_stopping.app.rule_guard import RuleFailed
from trialbus_early_stopping.app.views import WatchedExperiment

RULE_FAILURE = DocumentCodec(RuleFailure)


class RuleFailures:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: set[str] = set()

    def __contains__(self, uid: str) -> bool:
        return uid in self._known

    async def read(self, uids: Sequence[str]) -> None:
        """What is stored of them."""
        keys = {rule_failure_id(uid): uid for uid in uids if uid not in self._known}
        if keys:
            found = await self._parts.store.get_many(EVIDENCE.name, list(keys), fields=("_id",))
            self._known |= {keys[key] for key in found}

    async def add(self, experiment: WatchedExperiment, error: RuleFailed) -> None:
        """Said once for an experiment, however many trials it has."""
        rule = experiment.spec.early_stopping
        failure = RuleFailure(
            id=rule_failure_id(experiment.id),
            uid=experiment.id,
            version=1,
            rule="" if rule is None else rule.name,
            reason=str(error),
            failed_at=self._parts.clock.now(),
        )
        write = Write(base=None, document=RULE_FAILURE.encode(failure))
        [outcome] = await self._parts.store.commit(EVIDENCE.name, [write])
        self._known.add(experiment.id)
        if outcome is Outcome.DONE:
            self._parts.telemetry.add(metrics.RULE_FAILURES, rule=failure.rule)
            self._parts.telemetry.log.warning(
                "stopping rule failed",
                uid=experiment.id,
                rule=failure.rule,
                error=failure.reason,
                exc_info=error,
            )

    def keep(self, uids: Collection[str]) -> None:
        """Drop all others: they have ended."""
        self._known.intersection_update(uids)
