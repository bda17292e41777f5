"""Imports: the trials' documents first, then the commit that counts them. What is not counted is
seen by nobody, so a crash between the two is mended by telling the portion again."""

from collections.abc import Mapping

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.commands import Command
from trialbus.contracts.documents import EXPERIMENT, TRIAL, Document
from trialbus.contracts.imports import read_portion
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.ports.store import Outcome, Store, Write
from trialbus_experiment.core.importing import check_import, count_import, imported_trials


class Importing:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def write_trials(self, command: Command, document: Document) -> None:
        """Raises Refused, also where other trials than these are there already."""
        state = EXPERIMENT.decode(document)
        if command.uid not in (None, state.id) or command.dry_run:
            return
        portion = read_portion(command.portion, state.spec)
        check_import(state, portion)
        wanted = {it.id: TRIAL.encode(it) for it in imported_trials(state, portion)}
        writes = [Write(base=None, document=it) for it in wanted.values()]
        outcomes = await self._store.commit(TRIALS.name, writes) if writes else []
        there = [
            write.id
            for write, outcome in zip(writes, outcomes, strict=True)
            if outcome is not Outcome.DONE
        ]
        if there:
            _compare(wanted, await self._store.get_many(TRIALS.name, there))


def counted(command: Command, state: Experiment, now: float) -> Experiment:
    """What an import makes of its experiment once its trials are written. Raises Refused."""
    portion = read_portion(command.portion, state.spec)
    check_import(state, portion)
    return count_import(state, portion, now).state


def _compare(wanted: Mapping[str, Document], there: Mapping[str, Document]) -> None:
    """Of the documents, not of what they decode to: NaN is like NaN there."""
    for key, document in there.items():
        if repr(_plain(document)) != repr(_plain(wanted[key])):
            message = (
                f"trial {document['index']} is there with other content: another import has begun; "
                "delete the experiment, or import under another name"
            )
            raise Refused([Problem(field="trials", message=message)])


def _plain(document: Document) -> list[tuple[str, object]]:
    """Top-level fields come back in any order."""
    return sorted(document.items())
