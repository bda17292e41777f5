"""What ended runs come to by the conditions of their templates, and what is kept of them."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace

from trialbus.contracts.collections import EXPERIMENTS, TRIALS
from trialbus.contracts.documents import EXPERIMENT, TRIAL
from trialbus.contracts.katib.defaults import JOB_FAILURE, JOB_SUCCESS
from trialbus.contracts.katib.times import rfc3339, rfc3339_or_none
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import parse_run_id, trial_id
from trialbus.kernel.limits import MAX_KNOWN_EXPERIMENTS, MAX_MESSAGE_CHARS
from trialbus.kernel.run import Run, RunVerdict
from trialbus.kernel.spec import TrialTemplate
from trialbus.kernel.templates import TrialIdentity, render_object
from trialbus.ports.launcher import Launcher
from trialbus.ports.store import Store
from trialbus_trial_launcher.core.conditions import Conditions, ended_job, is_judged, judged


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRules:
    """Of one experiment, whose template never changes. template: None where the exit code is the
    answer. private: its runs have files that go with their end."""

    template: TrialTemplate | None = None
    private: bool = False


_USUAL = EndRules()


class Judging:
    """Looks at an experiment once; only where the conditions are the user's own, also at each
    trial that ends. lives: runs are living objects, whose status has said what they came to, and
    which all go at their end."""

    def __init__(self, store: Store, launcher: Launcher, *, lives: bool = False) -> None:
        self._lives = lives
        self._store = store
        self._launcher = launcher
        self._rules: OrderedDict[str, EndRules] = OrderedDict()
        self._untidy: list[str] = []
        self._wake = asyncio.Event()

    async def judge(self, run: Run) -> Run:
        """The ended run with what its template's conditions say of it. Raises Transient."""
        if self._lives:
            return run
        template = (await self._rules_of(run.uid)).template
        if template is None or not is_judged(run):
            return run
        key = trial_id(run.uid, run.index)
        document = (await self._store.get_many(TRIALS.name, [key])).get(key)
        if document is None:
            return run  # deleted with its experiment: nobody asks any more
        identity = TrialIdentity(
            namespace=run.namespace, experiment=run.experiment, name=run.trial, attempt=run.attempt
        )
        try:
            rendered = render_object(template, identity, TRIAL.decode(document).assignments)
        except Refused as refused:
            # The command takes less of its values than the whole object does.
            why = str(refused)[:MAX_MESSAGE_CHARS]
            return replace(run, verdict=RunVerdict.UNDECIDED, job_message=why)
        job = ended_job(
            rendered,
            run,
            started_at=rfc3339_or_none(run.started_at),
            finished_at=rfc3339(run.finished_at if run.finished_at is not None else run.created_at),
        )
        conditions = Conditions(
            success=template.success_condition, failure=template.failure_condition
        )
        return judged(run, job, conditions)

    def ended(self, run_id: str) -> None:
        """The end of a run is committed: what is private to it may go."""
        uid = parse_run_id(run_id).uid
        if self._lives or self._rules.get(uid, _USUAL).private:
            self._untidy.append(run_id)
            self._wake.set()

    async def tidy(self) -> None:
        """For ever: remove what ended runs need no more. What a crash leaves goes with the
        experiment."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            run_ids, self._untidy = self._untidy, []
            await self._launcher.tidy(run_ids)

    async def _rules_of(self, uid: str) -> EndRules:
        rules = self._rules.get(uid)
        if rules is None:
            document = (await self._store.get_many(EXPERIMENTS.name, [uid])).get(uid)
            rules = _USUAL if document is None else _rules(EXPERIMENT.decode(document))
            self._rules[uid] = rules
            if len(self._rules) > MAX_KNOWN_EXPERIMENTS:
                self._rules.popitem(last=False)
        else:
            self._rules.move_to_end(uid)
        return rules


def _rules(state: Experiment) -> EndRules:
    template = state.spec.template
    private = state.spec.metrics_collector.path is not None
    if template is None:
        return EndRules(private=private)
    return EndRules(
        template=None if _are_usual(template) else template,
        private=private and not template.retain,
    )


def _are_usual(template: TrialTemplate) -> bool:
    """The same paths are written with and without blanks."""
    given = (template.success_condition, template.failure_condition)
    return all(
        "".join(path.split()) in ("", usual)
        for path, usual in zip(given, (JOB_SUCCESS, JOB_FAILURE), strict=True)
    )
