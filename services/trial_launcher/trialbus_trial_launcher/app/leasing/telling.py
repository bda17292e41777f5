"""Results and releases: of what ends a lease the first word counts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from trialbus.contracts.work import HeldTrial, Result
from trialbus.kernel.errors import Transient
from trialbus.kernel.limits import MAX_COMMIT_RETRIES
from trialbus.kernel.run import Run, RunVerdict, StopReason
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.leasing.ending import Ending
from trialbus_trial_launcher.app.leasing.giving import Claims, no_claims
from trialbus_trial_launcher.app.leasing.word import T, Word, refuse_not_held, unanswered
from trialbus_trial_launcher.core.leases import released, single_values, told

_SUCCEEDED = "succeeded"
# By run id: what the runs become. Words that it refuses are left out.
_Change = Callable[[Mapping[str, Word[T]], Mapping[str, Run]], Awaitable[Mapping[str, Run]]]
# Whether a run has ended as the word says, so that it is a repeat.
_Repeats = Callable[[Word[T], Run], bool]


class Telling:
    def __init__(self, parts: Parts, ending: Ending) -> None:
        self._parts = parts
        self._ending = ending

    async def tell(
        self, words: Sequence[Word[Result]], claims: Callable[[], Awaitable[Claims]] = no_claims
    ) -> frozenset[str]:
        """claims: what is to be given out in the same commit. Returns the runs that others had
        changed by then: its words about them may be repeats. Raises Transient."""
        return await self._end(words, self._told, _told_before, claims)

    async def release(self, words: Sequence[Word[HeldTrial]]) -> None:
        """Raises Transient."""
        await self._end(words, self._released, _released_before, no_claims)

    async def _end(
        self,
        words: Sequence[Word[T]],
        change: _Change[T],
        repeats: _Repeats[T],
        claims: Callable[[], Awaitable[Claims]],
    ) -> frozenset[str]:
        lost: frozenset[str] = frozenset()
        # Of those whose end is one commit here, that says if the run is another by now.
        alone = {word.run_id for word in words if _is_alone(word.item)}
        for _ in range(MAX_COMMIT_RETRIES):
            wanted = {word.run_id for word in unanswered(words)}
            runs = await self._ending.runs(wanted, remembered=alone)
            alone = set()
            for word in unanswered(words):
                run = runs.get(word.run_id)
                if run is not None and run.ended and repeats(word, run):
                    word.accept()
            refuse_not_held(words, runs)
            # The first of two words about one run; the other comes next.
            due = {word.run_id: word for word in reversed(unanswered(words))}
            if not due:
                return lost
            changed = await change(due, runs)
            with_them, claims = await claims(), no_claims
            try:
                done = await self._ending.commit(
                    [(runs[key], it) for key, it in changed.items()], with_them.runs
                )
            except BaseException:
                with_them.fail()
                raise
            with_them.settle(done)
            lost |= changed.keys() - done
            for key in done & due.keys():
                due[key].accept()
        for word in unanswered(words):
            word.refuse(None)
        return lost

    async def _told(
        self, due: Mapping[str, Word[Result]], runs: Mapping[str, Run]
    ) -> Mapping[str, Run]:
        """Metrics that came before make the run's chain the place of all."""
        unsure = [key for key, word in due.items() if word.item.reported is None]
        reported = await self._ending.reported([runs[key] for key in unsure])
        reported |= {key for key, word in due.items() if word.item.reported}
        complete = await asyncio.gather(
            *(self._complete(word, runs[key], key in reported) for key, word in due.items())
        )
        now = self._parts.clock.now()
        return {
            key: told(
                runs[key],
                now,
                succeeded=word.item.state == _SUCCEEDED,
                message=word.item.message,
                metrics=word.item.metrics,
                reported=key in reported,
            )
            for (key, word), is_complete in zip(due.items(), complete, strict=True)
            if is_complete
        }

    async def _complete(self, word: Word[Result], run: Run, reported: bool) -> bool:
        """Whether its metrics are all there. If they never will be the word is refused, if that is
        not known it is to be repeated."""
        result, objective = word.item, word.work.spec.objective.metric
        if reported:
            return await self._close_chain(word, run)
        if result.state == _SUCCEEDED and objective not in result.metrics:
            given = ", ".join(map(repr, result.metrics)) or "nothing"
            word.refuse(f"a success needs a value of {objective!r}; there is {given}")
            return False
        return True

    async def _close_chain(self, word: Word[Result], run: Run) -> bool:
        try:
            why = await self._ending.close_chain(run, word.item.metrics)
        except Transient:
            word.refuse(None)
            return False
        if why is None:
            return True
        again = (await self._ending.runs([run.id])).get(run.id)
        if again is None or not again.ended:
            word.refuse(why)
        # Else it has ended meanwhile, perhaps by this very word: that is looked at next.
        return False

    async def _released(
        self, due: Mapping[str, Word[HeldTrial]], runs: Mapping[str, Run]
    ) -> Mapping[str, Run]:
        now = self._parts.clock.now()
        return {key: released(runs[key], now) for key in due}


def _is_alone(item: HeldTrial) -> bool:
    """A result without reports before it: nobody else is asked."""
    return isinstance(item, Result) and item.reported is False


def _told_before(word: Word[Result], run: Run) -> bool:
    succeeded = word.item.state == _SUCCEEDED
    same_end = run.verdict is (RunVerdict.SUCCEEDED if succeeded else RunVerdict.FAILED)
    return same_end and run.told in (None, single_values(word.item.metrics))


def _released_before(_word: Word[HeldTrial], run: Run) -> bool:
    return run.stop_reason == StopReason.RELEASED.value
