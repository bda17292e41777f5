"""The attempts that pods speak for: what their runs and experiments say of them now."""

from collections.abc import Collection
from dataclasses import dataclass

from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN
from trialbus.kernel.experiment import ExperimentPhase, OpenState
from trialbus.kernel.run import Run, RunPhase
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.leasing.work import Work, Works


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """work: None: its experiment is deleted."""

    run: Run
    work: Work | None

    @property
    def stop(self) -> str:
        """Why its experiment wants it stopped, "" if it does not."""
        trial = None if self.work is None else self.work.open.get(self.run.index)
        return "" if trial is None else trial.stop

    @property
    def over(self) -> str:
        """Why nothing more of it is wanted, "" while it is."""
        run = self.run
        if run.ended:
            next_one = self._superseded_by
            then = "" if next_one is None else f", attempt {next_one} has taken its place"
            return f"attempt {run.attempt} of {run.trial} has ended{then}{_how(run)}"
        if self.work is None or self.work.phase is ExperimentPhase.DELETED:
            return f"the experiment {run.experiment} is deleted"
        trial = self.work.open.get(run.index)
        if trial is None:
            return f"the trial {run.trial} has ended already"
        if trial.attempt != run.attempt:
            return (
                f"attempt {run.attempt} of {run.trial} is superseded: attempt {trial.attempt} has "
                "taken its place"
            )
        if trial.state is not OpenState.ACTIVE:
            return f"the experiment {run.experiment} is suspended"
        return ""

    @property
    def _superseded_by(self) -> int | None:
        trial = None if self.work is None else self.work.open.get(self.run.index)
        return trial.attempt if trial is not None and trial.attempt > self.run.attempt else None


def _how(run: Run) -> str:
    how = run.stop_reason or (run.message if run.phase is RunPhase.LOST else "")
    return f": {how}" if how else ""


class Attempts:
    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._works = Works(parts.store, parts.clock)
        # By uid, as they were a moment ago, and when.
        self._seen: dict[str, tuple[float, Work]] = {}

    async def find(
        self, run_ids: Collection[str], *, experiments_age_s: float = 0.0
    ) -> dict[str, Attempt]:
        """By run id; those that were never begun are absent. experiments_age_s: so old may be what
        is known of their experiments: those with thousands of open trials take a while to read.
        Raises Transient."""
        documents = await self._store.get_many(RUNS.name, run_ids)
        runs = [RUN.decode(document) for document in documents.values()]
        works = await self._find_works({run.uid for run in runs}, experiments_age_s)
        return {run.id: Attempt(run=run, work=works.get(run.uid)) for run in runs}

    async def _find_works(self, uids: Collection[str], age_s: float) -> dict[str, Work]:
        now = self._clock.monotonic()
        recent = {uid: (at, work) for uid, (at, work) in self._seen.items() if now - at < age_s}
        unknown = [uid for uid in uids if uid not in recent]
        read = await self._works.of(unknown) if unknown else {}
        self._seen = {**recent, **{uid: (now, work) for uid, work in read.items()}}
        return {uid: work for uid, (_, work) in self._seen.items() if uid in uids}
