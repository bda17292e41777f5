"""Imports: the trials' documents and points first, then the commit that counts them. What is not
counted is seen by nobody, so a crash between the two is mended by telling the portion again."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence

from trialbus.contracts import subjects
from trialbus.contracts.chunks import PushedPoint, PushReply, PushReport
from trialbus.contracts.collections import TRIALS
from trialbus.contracts.commands import Command
from trialbus.contracts.documents import EXPERIMENT, TRIAL, Document
from trialbus.contracts.imports import read_portion
from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_name
from trialbus.kernel.imported import ImportedSeries
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES, REQUEST_TIMEOUT_S
from trialbus.ports.bus import Bus, Request
from trialbus.ports.store import Outcome, Store, Write
from trialbus_experiment.core.importing import check_import, count_import, imported_trials

# Of a push as JSON: what is around its points, and a point without its metric's name.
_AROUND_BYTES = 4096
_POINT_BYTES = 80


class Importing:
    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus

    async def write(self, command: Command, document: Document) -> None:
        """Raises Refused, also where other trials than these are there already; Transient."""
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
        by_attempt: dict[tuple[int, int], list[ImportedSeries]] = {}
        for series in portion.series:
            by_attempt.setdefault((series.index, series.attempt), []).append(series)
        await asyncio.gather(*(self._push(state, command.id, own) for own in by_attempt.values()))

    async def _push(self, state: Experiment, command: str, own: Sequence[ImportedSeries]) -> None:
        """Of one trial, to the metrics collector: answered means stored."""
        index = own[0].index
        for number, points in enumerate(_pushes(own)):
            # The first keeps the name that all had when each was one.
            key = f"import-{command}/{number}" if number else f"import-{command}"
            report = PushReport(points=points, id=key, attempt=own[0].attempt, uid=state.id)
            await self._push_one(state, index, report)

    async def _push_one(self, state: Experiment, index: int, report: PushReport) -> None:
        name = trial_name(state.name, state.id, index)
        request = Request(
            subject=subjects.push(state.namespace, state.name, name), data=report.to_bytes()
        )
        answer = await self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
        reply = PushReply.from_bytes(answer)
        if reply.refused is not None:
            raise Refused([Problem(field=f"series of trial {index}", message=reply.refused)])
        if not reply.accepted:
            raise Transient(f"the points of trial {index} are not stored")


def _pushes(own: Sequence[ImportedSeries]) -> Iterator[tuple[PushedPoint, ...]]:
    """In order, each as much as a message holds: a push names the metric with every point."""
    held, room = list[PushedPoint](), MAX_PAYLOAD_BYTES - _AROUND_BYTES
    for it in own:
        size = len(json.dumps(it.metric).encode()) + _POINT_BYTES
        for value, at in zip(it.values, it.times, strict=True):
            if held and room < size:
                yield tuple(held)
                held, room = [], MAX_PAYLOAD_BYTES - _AROUND_BYTES
            held.append(PushedPoint(metric=it.metric, value=value, at=at))
            room -= size
    yield tuple(held)


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
