"""The dashboards ask for what there is, by labels that it has, and show it in its unit."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest

from making.dashboards import queries
from making.dashboards.files import BOARDS, DASHBOARDS, dashboard_files
from making.dashboards.queries import ALERTS, PROCESS, TARGET_LABELS, metric_named
from making.rules.promises import PROMISES
from trialbus.runtime import metrics
from trialbus.runtime.metric import Kind, Metric
from trialbus.testkit.panel_queries import (
    CHOSEN,
    PanelQuery,
    asked_series,
    dashboards,
    filled,
    grouping_labels,
    panel_queries,
)
from trialbus_gateway.core.series_kinds import BY_NAME as SERIES

KNOWN = {metric.name: metric for metric in (*metrics.ALL, *PROCESS, ALERTS)}
# What Grafana makes of a figure without a unit, of a share, and of events a second.
COUNT, SHARE, PER_SECOND = "short", "percentunit", "ops"
RATES = {"rate", "increase"}
ONE_EXPERIMENT = {"namespace": "a", "experiment": "b", "parameter": "c", "trial": "d"}
CHOSEN_HERE = {**CHOSEN, **ONE_EXPERIMENT, "metric": "e"}

FILES = dashboards(DASHBOARDS)
QUERIES = [query for dashboard in FILES.values() for query in panel_queries(dashboard)]
OF_METRICS = [query for query in QUERIES if query.source == "datasource"]
OF_EXPERIMENTS = [query for query in QUERIES if query.source == "experiments"]


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def metric_of(name: str) -> Metric:
    """Of a series' name. Raises KeyError for one that no metric has."""
    bare = re.sub(r"_(bucket|sum|count)$", "", name)
    found = KNOWN.get(name) or KNOWN[bare]
    if (found.name == name) == (found.kind is Kind.HISTOGRAM):
        raise KeyError(name)
    return found


def test_each_dashboard_is_a_file_and_each_file_a_dashboard() -> None:
    assert sorted(FILES) == sorted(path.name for path in dashboard_files())
    assert len(FILES) == len(BOARDS) == 4


def test_uids_and_titles_are_unique_and_stay() -> None:
    assert {board["uid"] for board in FILES.values()} == {
        "trialbus-overview",
        "trialbus-experiment",
        "trialbus-algorithms",
        "trialbus-capacity",
    }
    assert len({board["title"] for board in FILES.values()}) == len(FILES)


@pytest.mark.parametrize("name", FILES)
def test_panels_do_not_overlap_and_fit(name: str) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in FILES[name]["panels"]]
    assert all(0 <= place["x"] <= 24 - place["w"] for _, place in places)
    lying = [(one, other) for (one, a), (other, b) in combinations(places, 2) if overlap(a, b)]
    assert lying == []


def overlap(a: Mapping[str, int], b: Mapping[str, int]) -> bool:
    beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    return not (beside or below)


def test_two_panels_in_one_place_are_seen() -> None:
    assert overlap({"x": 0, "y": 0, "w": 8, "h": 8}, {"x": 7, "y": 7, "w": 8, "h": 8})
    assert not overlap({"x": 0, "y": 0, "w": 8, "h": 8}, {"x": 8, "y": 0, "w": 8, "h": 8})


@pytest.mark.parametrize("name", FILES)
def test_every_panel_says_what_is_seen_and_has_its_own_title(name: str) -> None:
    shown = panels(FILES[name])
    titles = [panel["title"] for panel in shown]
    assert len(set(titles)) == len(titles)
    assert [panel["title"] for panel in shown if not panel["description"].endswith(".")] == []
    assert [panel["title"] for panel in shown if not panel.get("targets")] == []
    numbers = [panel["id"] for panel in FILES[name]["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", FILES)
def test_every_variable_that_is_used_is_there(name: str) -> None:
    there = {variable["name"] for variable in FILES[name]["templating"]["list"]}
    # Two that Grafana has of itself.
    there |= {"__rate_interval", "__range"}
    text = json.dumps(FILES[name])
    used = {one or other for one, other in re.findall(r"\$(?:(\w+)|\{(\w+)\})", text)}
    assert used - there == {"__all"} & used


def test_every_query_parses() -> None:
    for query in QUERIES:
        assert asked_series(query.filled(CHOSEN_HERE)), query


def test_metrics_and_their_labels_are_of_the_closed_set() -> None:
    for query in OF_METRICS:
        text = query.filled(CHOSEN)
        had: set[str] = set()
        for asked in asked_series(text):
            metric = metric_of(asked.name)
            bucket = {"le"} if asked.name.endswith("_bucket") else set()
            own = {*metric.label_names, *TARGET_LABELS, *bucket}
            assert asked.labels <= own, query
            had |= own
        told = set(re.findall(r"{{(\w+)}}", query.legend))
        assert grouping_labels(text) | told <= had, query
        assert not told or told <= grouping_labels(text), f"{query}: the legend has no such label"


def test_a_query_for_what_is_not_there_is_seen() -> None:
    with pytest.raises(KeyError):
        metric_of("trialbus_trials_started_total")
    with pytest.raises(KeyError):
        metric_of("trialbus_store_seconds")
    with pytest.raises(KeyError):
        metric_of("trialbus_points_total_count")
    with pytest.raises(ValueError, match="has no label experiment"):
        queries.rate(metrics.POINTS, "experiment")
    with pytest.raises(ValueError, match="has no bucket"):
        queries.within(0.123, metrics.STORE)


def test_counters_are_rated_and_gauges_are_not() -> None:
    for query in OF_METRICS:
        for asked in asked_series(query.filled(CHOSEN)):
            metric = metric_of(asked.name)
            rated = bool(RATES & set(asked.within[:1]))
            assert rated == (metric.kind is not Kind.GAUGE), query


def test_buckets_are_summed_up_by_le() -> None:
    for query in OF_METRICS:
        text = query.filled(CHOSEN)
        if "histogram_quantile" in text:
            assert "le" in grouping_labels(text), query
            assert all(asked.name.endswith("_bucket") for asked in asked_series(text)), query


def test_what_every_replica_tells_of_the_whole_is_read_as_the_largest() -> None:
    seen = 0
    for query in OF_METRICS:
        for asked in asked_series(query.filled(CHOSEN)):
            if metric_of(asked.name).shared:
                told = [it for it in asked.within if it != "last_over_time"]
                assert told[0] == "max", query
                seen += 1
    assert seen > 5


def test_units_are_those_of_the_queries() -> None:
    for query in OF_METRICS:
        found = dimension(promql.parse(query.filled(CHOSEN)))
        assert query.unit in UNITS[found], f"{query}: {found}"


# Powers of (seconds, bytes) -> units of a panel.
UNITS = {(0, 0): {COUNT, SHARE}, (1, 0): {"s"}, (0, 1): {"bytes"}, (-1, 0): {PER_SECOND}}


def dimension(expr: Any) -> tuple[int, int]:
    """Powers of seconds and bytes in what a query yields."""
    match expr:
        case promql.VectorSelector():
            return _dimension_of_name(expr.name or "")
        case promql.MatrixSelector():
            return dimension(expr.vector_selector)
        case promql.AggregateExpr():
            return (0, 0) if str(expr.op).split()[-1] == "count" else dimension(expr.expr)
        case promql.ParenExpr() | promql.UnaryExpr():
            return dimension(expr.expr)
        case promql.NumberLiteral():
            return (0, 0)
        case promql.BinaryExpr():
            seconds, size = dimension(expr.lhs)
            if str(expr.op) != "/":
                return seconds, size
            by_seconds, by_size = dimension(expr.rhs)
            return seconds - by_seconds, size - by_size
        case promql.Call():
            return _dimension_of_call(expr)
        case _:
            raise TypeError(str(expr))


def _dimension_of_call(expr: Any) -> tuple[int, int]:
    match expr.func.name:
        case "rate":
            seconds, size = dimension(expr.args[0])
            return seconds - 1, size
        case "histogram_quantile":
            return (1, 0)
        case "increase" | "last_over_time":
            return dimension(expr.args[0])
        case "changes":
            return (0, 0)
        case other:
            raise ValueError(f"what does {other} yield?")


def _dimension_of_name(name: str) -> tuple[int, int]:
    if name.endswith(("_bucket", "_count")):
        return (0, 0)
    return int(bool(re.search(r"_seconds(_sum|_total)?$", name))), int(name.endswith("_bytes"))


def test_what_is_of_the_time_shown_is_one_figure_and_no_line() -> None:
    """Of a line only the right end would be of the time that is shown."""
    shown = [query for query in QUERIES if "[$__range]" in query.text]
    assert len(shown) > 8
    assert [query.panel for query in shown if not query.instant] == []
    assert {query.look for query in shown} == {"stat", "bargauge"}


def test_shares_are_quotients_and_nothing_else_is() -> None:
    for query in OF_METRICS:
        if query.unit == SHARE:
            assert " / " in query.text, query


def test_every_metric_of_the_set_is_on_a_dashboard_or_for_katibs_panels() -> None:
    asked = {
        metric_of(one.name).name
        for query in OF_METRICS
        for one in asked_series(query.filled(CHOSEN))
    }
    missing = {metric.name for metric in metrics.ALL} - asked
    assert {name for name in missing if not name.startswith("katib_")} == set()


def test_every_promise_with_a_bound_has_its_panel_and_its_line() -> None:
    shown = [json.dumps(panel) for panel in panels(FILES["trialbus-overview.json"])]
    for promise in PROMISES:
        if promise.bound_s is None:
            continue
        (panel,) = (it for it in shown if f"alert is {promise.alert}." in it)
        steps = json.loads(panel)["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert [step["value"] for step in steps] == [None, promise.bound_s]
        assert metric_named(promise.metric).buckets.count(promise.bound_s) == 1


def test_every_promise_is_among_those_of_which_the_kept_share_is_shown() -> None:
    shown = [query for query in QUERIES if query.panel.startswith("Promises kept")]
    assert [query.legend for query in shown] == [promise.what for promise in PROMISES]
    for query, promise in zip(shown, PROMISES, strict=True):
        label = re.split("[!=]", promise.selector)[0]
        assert label in query.text, query
        assert promise.bad in query.text, query


def test_nothing_is_divided_by_what_may_be_nothing() -> None:
    for query in OF_METRICS:
        divided = re.findall(r" / (.*)", query.text)
        assert all(it.startswith("(") and it.endswith(" > 0)") for it in divided), query


# --- The gateway's answers: selectors of its series only.


def test_the_experiments_dashboard_asks_selectors_of_series_that_there_are() -> None:
    for query in OF_EXPERIMENTS:
        parsed = promql.parse(query.filled(CHOSEN_HERE))
        assert isinstance(parsed, promql.VectorSelector), query
        kind = SERIES[parsed.name or ""]
        labels = {it.name for it in parsed.matchers.matchers}
        assert labels <= set(kind.labels), query
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= set(kind.labels), query
        assert (query.unit == "s") == (kind.unit == "seconds"), query


def test_variables_ask_for_labels_of_what_there_is() -> None:
    for found in _variable_queries():
        selector, label = found
        (asked,) = asked_series(filled(selector, CHOSEN_HERE))
        series = SERIES.get(asked.name)
        own = set(series.labels) if series else {*metric_of(asked.name).label_names, *TARGET_LABELS}
        assert asked.labels | {label} <= own, found


def _variable_queries() -> Iterator[tuple[str, str]]:
    for dashboard in FILES.values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert found is not None, variable
                yield found[1], found[2]


def test_exemplars_are_asked_for_where_traces_are_told(repository: Path) -> None:
    def with_exemplars(dashboard: Mapping[str, Any]) -> list[PanelQuery]:
        return [
            it
            for panel in panels(dashboard)
            for it in panel_queries({**dashboard, "panels": [panel]})
            if any(target.get("exemplar") for target in panel["targets"])
        ]

    assert with_exemplars(FILES["trialbus-overview.json"])
    provisioned = (repository / "deploy/grafana/provisioning/datasources.yaml").read_text()
    assert "exemplarTraceIdDestinations" in provisioned
