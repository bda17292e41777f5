"""Reading what is new in the chunks of some runs: nearly always one grouped read by key."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from trialbus.contracts.collections import CHUNKS
from trialbus.contracts.documents import Document
from trialbus.kernel.ids import chunk_id
from trialbus.kernel.limits import MAX_EVIDENCE_STEPS
from trialbus.ports.store import Query, Store
from trialbus_early_stopping.app.evidence_documents import News, reports_of
from trialbus_early_stopping.core.evidence import Report

_FIELDS = ("from_byte", "to_byte", "final", "series")
_PAGE_CHUNKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a run's chunks are known, and the metric that matters."""

    run: str
    metric: str
    to_byte: int

    @property
    def next_chunk(self) -> str:
        """A chain has no gaps, so the key of what follows is known."""
        return chunk_id(self.run, self.to_byte)


class ChunkReader:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, marks: Sequence[Mark]) -> dict[str, News]:
        """By run, what follows its mark; runs without anything new are absent."""
        found = await self._store.get_many(
            CHUNKS.name, [mark.next_chunk for mark in marks], fields=_FIELDS
        )
        moved = [mark for mark in marks if mark.next_chunk in found]
        news = await asyncio.gather(*(self._follow(mark, found[mark.next_chunk]) for mark in moved))
        return {mark.run: each for mark, each in zip(moved, news, strict=True)}

    async def _follow(self, mark: Mark, first: Document) -> News:
        """From a chunk to the end of the chain, or to the last step that matters."""
        reports, last = _reports(first, mark.metric), first
        while not last["final"] and len(reports) < MAX_EVIDENCE_STEPS:
            page = await self._store.find(
                CHUNKS.name,
                Query(
                    prefix=f"{mark.run}@",
                    at_least={"_id": chunk_id(mark.run, last["to_byte"])},
                    order="_id",
                    limit=_PAGE_CHUNKS,
                    fields=_FIELDS,
                ),
            )
            for chunk in page:
                # Only while a deleted experiment's chunks are being removed.
                if chunk["from_byte"] != last["to_byte"]:
                    break
                reports += _reports(chunk, mark.metric)
                last = chunk
            if len(page) < _PAGE_CHUNKS or page[-1] is not last:
                break
        return News(
            reports=tuple(report for report, _ in reports),
            times=tuple(at for _, at in reports),
            to_byte=last["to_byte"],
            final=last["final"],
        )


def _reports(chunk: Document, metric: str) -> list[tuple[Report, float]]:
    """With their times."""
    return [
        timed
        for series in chunk["series"]
        if series["metric"] == metric
        for timed in zip(
            reports_of(series["first_step"], _numbers(series, "values")),
            _numbers(series, "times"),
            strict=True,
        )
    ]


def _numbers(series: Document, field: str) -> Sequence[float]:
    """Without those of texts, which are no steps; older chunks have no field for texts."""
    every: Sequence[float] = series[field]
    texts = series.get("texts")
    if not texts:
        return every
    return [number for number, text in zip(every, texts, strict=True) if not text]
