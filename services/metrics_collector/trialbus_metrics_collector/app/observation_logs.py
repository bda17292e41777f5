"""What is stored of a trial's newest run, as one log in the order of time; and its removal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from trialbus.contracts.collections import CHUNKS, RUNS
from trialbus.contracts.documents import CHUNK, RUN, Document
from trialbus.kernel.chunks import told_chunk
from trialbus.kernel.errors import NotNow, NotThere, Problem
from trialbus.kernel.ids import chunk_id, trial_id
from trialbus.ports.store import Query, Store
from trialbus.runtime.named_trials import NamedTrials
from trialbus.runtime.parts import Parts
from trialbus_metrics_collector.app.tails import Tails

_FIELDS = ("from_byte", "to_byte", "series")
_PAGE_CHUNKS = 64


class Row(NamedTuple):
    """at: microseconds since the epoch. text: of a value that is no number; else ""."""

    at_us: int
    metric: str
    value: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """metric: None for all. Bounds: microseconds since the epoch, both included."""

    metric: str | None = None
    from_us: int | None = None
    to_us: int | None = None

    def takes(self, row: Row) -> bool:
        return (self.from_us is None or row.at_us >= self.from_us) and (
            self.to_us is None or row.at_us <= self.to_us
        )


class ObservationLogs:
    def __init__(self, parts: Parts, tails: Tails) -> None:
        self._store: Store = parts.store
        self._tails = tails
        self._trials = NamedTrials(parts.store)

    async def read(self, trial: str, wanted: Wanted) -> list[Row]:
        """All rows that are wanted, by time; of one time as they were reported. Raises NotThere,
        Transient."""
        run = str((await self._trials.find(trial)).run)
        rows: list[Row] = []
        begin = 0
        while True:
            page = await self._store.find(
                CHUNKS.name,
                Query(
                    prefix=f"{run}@",
                    at_least={"_id": chunk_id(run, begin)},
                    order="_id",
                    limit=_PAGE_CHUNKS,
                    fields=_FIELDS,
                ),
            )
            for chunk in page:
                rows += (row for row in _rows(chunk, wanted.metric) if wanted.takes(row))
            # The key after the last one's: what is final may be empty and end where it begins.
            begin = page[-1]["from_byte"] + 1 if page else begin
            if len(page) < _PAGE_CHUNKS:
                if not page and begin == 0:
                    rows += [
                        row for row in await self._told(run, wanted.metric) if wanted.takes(row)
                    ]
                # A stable sort: equal times stay in their order.
                return sorted(rows, key=_time_of)

    async def _told(self, run: str, metric: str | None) -> list[Row]:
        """Of a trial whose worker told nothing but its end."""
        documents = await self._store.get_many(RUNS.name, [run])
        told = told_chunk(RUN.decode(documents[run])) if run in documents else None
        return [] if told is None else list(_rows(CHUNK.encode(told), metric))

    async def delete(self, trial: str) -> None:
        """Remove what all runs of an ended trial have reported; of a trial that is not there,
        nothing is left. Raises NotNow for a living one."""
        try:
            found = await self._trials.find(trial)
        except NotThere:
            return
        if not found.written:
            why = "it has not ended: what it reports is needed"
            raise NotNow([Problem(field=trial, message=why)])
        prefix = f"{trial_id(found.uid, found.index)}."
        await self._store.delete(CHUNKS.name, Query(prefix=prefix))
        self._tails.forget(prefix)


def _time_of(row: Row) -> int:
    return row.at_us


def _rows(chunk: Document, metric: str | None) -> Iterator[Row]:
    """The first points of each metric, then the second ones: metrics are reported side by side."""
    series = [it for it in chunk["series"] if metric in (None, it["metric"])]
    longest = max((len(it["values"]) for it in series), default=0)
    for number in range(longest):
        for each in series:
            if number < len(each["values"]):
                at_us = round(each["times"][number] * 1e6)
                # What was stored before there were texts does not have the field.
                texts = each.get("texts")
                text = texts[number] if texts else ""
                yield Row(at_us, each["metric"], each["values"][number], text)
