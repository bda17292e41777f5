"""The calls of Prometheus' read API, over the closed set of experiments' series."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from trialbus_gateway.adapters.answers_json import JsonAnswer
from trialbus_gateway.adapters.prometheus import API
from trialbus_gateway.adapters.prometheus import operations as told
from trialbus_gateway.adapters.prometheus.parameters import ANY, Given, given
from trialbus_gateway.adapters.rest.about import release
from trialbus_gateway.adapters.rest.operations import DescribedRoute, Operation, described
from trialbus_gateway.app.failures import TooMuch, Unreadable
from trialbus_gateway.app.series_reading import Series, SeriesReading, kinds_of
from trialbus_gateway.app.series_selection import Span, Warnings
from trialbus_gateway.core.selectors import NAME_LABEL, BadQuery, Number, parse_query
from trialbus_gateway.core.series_kinds import KINDS
from trialbus_gateway.core.timelines import text_of

# About 6 MB of JSON.
MAX_POINTS = 250_000
# The release of Prometheus whose read API this is a part of: clients choose their calls by it.
SPOKEN = "2.42.0"
Json = Any


class PrometheusReading:
    def __init__(self, series: SeriesReading) -> None:
        self._series = series

    def routes(self) -> list[DescribedRoute]:
        return [
            *self._both("query", self._query, told.QUERY),
            *self._both("query_range", self._query_range, told.RANGE),
            *self._both("series", self._list, told.SERIES),
            *self._both("labels", self._labels, told.LABELS),
            described("GET", f"{API}/label/{{label}}/values", self._values, told.VALUES),
            described("GET", f"{API}/metadata", self._metadata, told.METADATA),
            described("GET", f"{API}/status/buildinfo", self._build, told.BUILD),
        ]

    def _both(self, name: str, endpoint: Any, operation: Operation) -> list[DescribedRoute]:
        form = urlencode(dict(operation.examples[0].query), doseq=True)
        path = f"{API}/{name}"
        return [
            described("GET", path, endpoint, operation),
            described("POST", path, endpoint, told.posted(operation, form)),
        ]

    async def _query(self, request: Request) -> Response:
        asked = await self._given(request, told.QUERY)
        now = asked.time("time", asked.now)
        query = _parsed(asked)
        if isinstance(query, Number):
            sample = [now, text_of(query.value)]
            if query.is_vector:
                return _answer(_data("vector", [{"metric": {}, "value": sample}]))
            return _answer(_data("scalar", sample))
        found = await self._series.of(query, Span(start=now, end=now))
        results = await asyncio.to_thread(_told_at, found.series, now)
        return _answer(_data("vector", _limited(results, asked, found.warnings)), found.warnings)

    async def _query_range(self, request: Request) -> Response:
        asked = await self._given(request, told.RANGE)
        query, moments = _parsed(asked), asked.moments()
        if isinstance(query, Number):
            values = [[at, text_of(query.value)] for at in moments]
            return _answer(_data("matrix", [{"metric": {}, "values": values}]))
        found = await self._series.of(query, Span(start=moments[0], end=moments[-1]))
        if len(found.series) * len(moments) > MAX_POINTS:
            raise TooMuch(
                f"{len(found.series)} series at {len(moments)} times are more than {MAX_POINTS} "
                "points: add matchers, take a longer step, or ask for one time (an instant query)"
            )
        # Some tenths of a second for the largest: others are answered meanwhile.
        results = await asyncio.to_thread(_sampled, found.series, moments)
        return _answer(_data("matrix", _limited(results, asked, found.warnings)), found.warnings)

    async def _list(self, request: Request) -> Response:
        asked = await self._given(request, told.SERIES)
        selectors, span, warnings = asked.selectors(), asked.span(), Warnings()
        if not selectors:
            raise Unreadable("no match[] parameter provided")
        listed: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        for selector in selectors:
            found = await self._series.of(selector, span)
            for text in found.warnings.texts:
                warnings.add(text)
            listed |= await asyncio.to_thread(_by_labels, found.series)
        in_order = [listed[key] for key in sorted(listed)]
        return _answer(_limited(in_order, asked, warnings), warnings)

    async def _labels(self, request: Request) -> Response:
        asked = await self._given(request, told.LABELS)
        asked.span()
        kinds = [kind for selector in asked.selectors() or [ANY] for kind in kinds_of(selector)]
        names = {NAME_LABEL, *(label for kind in kinds for label in kind.labels)} if kinds else ()
        return _listed(names, asked, Warnings())

    async def _values(self, request: Request) -> Response:
        asked = await self._given(request, told.VALUES)
        label = told.LABEL.of(request) or ""
        span, warnings, values = asked.span(), Warnings(), set[str]()
        for selector in asked.selectors() or [ANY]:
            if label == NAME_LABEL:
                values |= {kind.name for kind in kinds_of(selector)}
                continue
            more, about = await self._series.names(label, selector, span)
            values |= more
            for text in about.texts:
                warnings.add(text)
        return _listed(values, asked, warnings)

    async def _metadata(self, request: Request) -> Response:
        asked = await self._given(request, told.METADATA)
        wanted, limit = asked.text("metric"), asked.limit()
        kinds = [kind for kind in KINDS if wanted in (None, kind.name)][:limit]
        return _answer(
            {it.name: [{"type": "gauge", "help": it.about, "unit": it.unit}] for it in kinds}
        )

    async def _build(self, _request: Request) -> Response:
        return _answer(
            {
                "version": SPOKEN,
                "revision": f"trialbus {release()}",
                "branch": "",
                "buildUser": "",
                "buildDate": "",
                "goVersion": "",
            }
        )

    async def _given(self, request: Request, operation: Operation) -> Given:
        return await given(request, operation.parameters, self._series.clock.now())


def _parsed(asked: Given) -> Any:
    """Raises Unreadable."""
    try:
        return parse_query(asked.needed("query"))
    except BadQuery as error:
        raise Unreadable(f"query: {error}") from error


def _sampled(series: Sequence[Series], moments: Sequence[float]) -> list[Json]:
    """Without those that have no value at any of these times."""
    return [
        {"metric": it.labels, "values": [[at, text_of(value)] for at, value in samples]}
        for it in _in_order(series)
        if (samples := it.timeline.sampled(moments))
    ]


def _told_at(series: Sequence[Series], now: float) -> list[Json]:
    return [
        {"metric": it.labels, "value": [now, text_of(value)]}
        for it in _in_order(series)
        if (value := it.timeline.at(now)) is not None
    ]


def _by_labels(series: Iterable[Series]) -> dict[tuple[tuple[str, str], ...], dict[str, str]]:
    told = (it.labels for it in series)
    return {tuple(sorted(labels.items())): labels for labels in told}


def _in_order(series: Iterable[Series]) -> list[Series]:
    return sorted(series, key=_place)


def _place(series: Series) -> str:
    """Sorts as the sorted labels would. As one text, because a sort of thousands of lists lets
    nobody else have a turn, in a thread neither."""
    return "\0".join(f"{name}\1{value}" for name, value in sorted(series.labels.items()))


def _data(kind: str, result: Json) -> Json:
    return {"resultType": kind, "result": result}


def _listed(names: Iterable[str], asked: Given, warnings: Warnings) -> Response:
    return _answer(_limited(sorted(names), asked, warnings), warnings)


def _limited(items: list[Any], asked: Given, warnings: Warnings) -> list[Any]:
    limit = asked.limit()
    if limit is None or len(items) <= limit:
        return items
    warnings.add("results truncated due to limit")
    return items[:limit]


def _answer(data: Json, warnings: Warnings | None = None) -> Response:
    content = {"status": "success", "data": data}
    if warnings is not None and warnings.texts:
        content["warnings"] = warnings.texts
    return JsonAnswer(content)
