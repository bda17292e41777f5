"""Dashboards and rules on true data: a stack at work, much of which fails, and a Prometheus that
watches it. Every query has data, or is listed with the reason why it has none.

tests/data/quiet-queries.yaml is that list. What is on it and has data fails, too.
"""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import yaml

from trialbus.cli.api import TOKEN_VARIABLE
from trialbus.contracts.token_file import StaticToken, hash_of, write_tokens
from trialbus.kernel.access import Role
from trialbus.testkit import misbehaving_parts
from trialbus.testkit.observed_load import FAILS_AFTER_S, Load
from trialbus.testkit.otlp_receiver import OtlpReceiver, receiving_traces
from trialbus.testkit.panel_queries import CHOSEN, asked_series, dashboards, panel_queries
from trialbus.testkit.programs import REPOSITORY
from trialbus.testkit.prometheus_server import (
    PROMETHEUS,
    PrometheusApi,
    PrometheusServer,
    running_prometheus,
)
from trialbus.testkit.real_stack import NAMESPACE, RealStack
from trialbus.testkit.waits import until_sync

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(240),
    pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus on PATH"),
]

TOKEN = "tbs_" + "observer" * 5
SCRAPE_S = 0.5
RULES = sorted((REPOSITORY / "deploy/prometheus/rules").glob("*.yaml"))
WINDOWS = {"__rate_interval": "10s", "__range": "5m"}
ONE_EXPERIMENT = {
    "namespace": NAMESPACE,
    "experiment": "stopped",
    "parameter": "x",
    "trial": ".*",
    "metric": ".*",
}
PANELS = [
    query
    for dashboard in dashboards(REPOSITORY / "deploy/grafana").values()
    for query in panel_queries(dashboard)
]


def quiet(kind: str) -> set[str]:
    """What of `panels`, `experiments` or `rules` has no data, and is listed with the reason."""
    listed = yaml.safe_load((REPOSITORY / "tests/data/quiet-queries.yaml").read_text())[kind]
    assert all(entry["reason"].endswith(".") for entry in listed)
    return {query for entry in listed for query in entry["queries"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A stack after its load, and who has watched it since `since`. pids: of the services."""

    stack: RealStack
    load: Load
    prometheus: PrometheusServer
    gateway: PrometheusApi
    traces: OtlpReceiver
    since: float

    def has_data(self, query: str) -> bool:
        return bool(self.prometheus.over(query, self.since, time.time(), 1))

    def value(self, query: str) -> float:
        """Of the only series, at the newest time at which it has a number."""
        (rows,) = self.prometheus.over(query, self.since, time.time(), 1).values()
        return rows[-1][1]

    def highest(self, query: str) -> float:
        """Of the only series, at any time."""
        (rows,) = self.prometheus.over(query, self.since, time.time(), 1).values()
        return max(value for _, value in rows)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    with receiving_traces() as traces, pytest.MonkeyPatch.context() as patched:
        patched.setenv(TOKEN_VARIABLE, TOKEN)
        settings = {**_door(folder), **_webhook_to_nowhere(folder)}
        settings |= {"trace_endpoint": traces.endpoint, "trace_ratio": "1"}
        stack = RealStack(folder / "stack", **settings)
        misbehaving_parts.install(stack.folder / "lib")
        try:
            stack.up()
            with running_prometheus(folder / "prometheus", rules=RULES, every_s=SCRAPE_S) as server:
                yield _watched(stack, server, traces)
        finally:
            stack.down()


def _watched(stack: RealStack, server: PrometheusServer, traces: OtlpReceiver) -> Observed:
    server.scrape(_targets(stack))
    until_sync(lambda: _answering(server) == len(_targets(stack)), "scrapes", within_s=30)
    load = Load(stack, TOKEN)
    found = Observed(
        stack=stack,
        load=load,
        prometheus=server,
        gateway=PrometheusApi(f"{stack.status.http}/prometheus", TOKEN),
        traces=traces,
        since=time.time() - 1,
    )
    asyncio.run(load.run())
    # The service that was killed answers at another port now.
    server.scrape(_targets(stack))
    until_sync(lambda: _answering(server) == len(_targets(stack)), "scrapes", within_s=30)
    counted = sum(load.ended.values())
    until_sync(
        lambda: sum(server.now("trialbus_trials_ended_total", time.time()).values()) == counted,
        "the end of every trial is in Prometheus",
    )
    # Each process looks at its connection every ten seconds.
    reconnected = f"sum({WENT_WRONG['a bus that is killed']})"
    until_sync(
        lambda: found.highest(reconnected) > 0,
        "the killed bus is in Prometheus",
        within_s=30,
    )
    return found


def _answering(server: PrometheusServer) -> int:
    """How many targets were scraped with success."""
    if not server.is_ready():
        return 0
    return sum(value == 1 for value in server.now("up", time.time()).values())


def _targets(stack: RealStack) -> dict[str, str]:
    services = stack.status.services.items()
    return {name: urlsplit(it.health).netloc for name, it in services if it.health}


def _door(folder: Path) -> dict[str, str]:
    file = folder / "tokens.yaml"
    entry = StaticToken(
        name="observer",
        sha256=hash_of(TOKEN),
        role=Role.ADMIN,
        namespaces="*",
        expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=1),
    )
    file.write_bytes(write_tokens([entry]))
    return {"tokens_file": str(file), "token": TOKEN}


def _webhook_to_nowhere(folder: Path) -> dict[str, str]:
    (folder / "hook.secret").write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    # A port that nobody listens at: the one of the discard service.
    entry = {"name": "nowhere", "url": "http://127.0.0.1:9/", "secret_file": "hook.secret"}
    file = folder / "webhooks.yaml"
    file.write_text(json.dumps({"webhooks": [entry]}))
    return {"webhooks_file": str(file)}


# --- Panels


def test_every_query_of_every_panel_has_data_or_a_reason(observed: Observed) -> None:
    asked = [it for it in PANELS if it.source == "datasource"]
    chosen = {**CHOSEN, **WINDOWS}
    silent = {it.text for it in asked if not observed.has_data(it.filled(chosen))}
    listed = quiet("panels")
    assert sorted(silent - listed) == [], "these have no data"
    assert sorted(listed - silent) == [], "these have data, or are on no panel"


def test_the_panels_of_one_experiment_are_answered_by_the_gateway(observed: Observed) -> None:
    asked = [it for it in PANELS if it.source == "experiments"]
    assert asked
    now, silent = time.time(), set()
    for query in asked:
        text = query.filled(ONE_EXPERIMENT)
        rows = observed.gateway.over(text, observed.since, now, 1)
        at_once = observed.gateway.now(text, now) if query.instant else rows
        if not rows or not at_once:
            silent.add(query.text)
    listed = quiet("experiments")
    assert sorted(silent - listed) == [], "these have no data"
    assert sorted(listed - silent) == [], "these have data, or are on no panel"


# What the load did wrong -> a query that is above zero because of it.
WENT_WRONG = {
    "an event that nobody can read": "trialbus_dead_letters_total",
    "an experiment that nobody can read": 'trialbus_handling_failures_total{service="experiment"}',
    "an algorithm that fails": 'trialbus_algorithm_failures_total{algorithm="broken"}',
    "a rule that fails": 'trialbus_stopping_rule_failures_total{rule="broken-rule"}',
    "a trial stopped early": 'trialbus_stop_verdicts_total{rule="medianstop"}',
    "a worker that is never heard of again": "trialbus_lease_losses_total",
    "its attempt": "trialbus_attempts_lost_total",
    "a launcher that is killed": "changes(process_start_time_seconds[5m])",
    "its trial, which goes on": 'trialbus_adoptions_total{place="process"}',
    "a bus that is killed": 'trialbus_bus_reconnects_total{service="experiment"}',
    "wrong tokens": 'trialbus_requests_refused_total{reason="unauthenticated"}',
    "a webhook to nowhere": 'trialbus_webhook_attempts_total{outcome="failed"}',
    "a path that is not there": 'trialbus_http_request_seconds_count{code="404"}',
    "a call that is not there": 'trialbus_grpc_request_seconds_count{code="UNIMPLEMENTED"}',
}


@pytest.mark.parametrize("what", WENT_WRONG)
def test_what_went_wrong_is_seen(observed: Observed, what: str) -> None:
    assert observed.highest(f"sum({WENT_WRONG[what]})") > 0


# --- Rules


def test_every_rule_is_evaluated_without_an_error(observed: Observed) -> None:
    groups = observed.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    assert len(rules) == sum(len(group["rules"]) for file in files for group in file["groups"])


def test_what_rules_look_at_and_record_has_data_or_a_reason(observed: Observed) -> None:
    """An alert that is silent has no data, but what it looks at must have."""
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    names = {asked.name for rule in rules for asked in asked_series(rule["expr"])}
    names |= {rule["record"] for rule in rules if "record" in rule}
    silent = {name for name in names if not observed.has_data(name)}
    listed = quiet("rules")
    assert sorted(silent - listed) == [], "these have no data"
    assert sorted(listed - silent) == [], "these have data, or are of no rule"


# --- Units: what is shown, beside what the load is known to do


def test_trials_are_counted_as_they_ended(observed: Observed) -> None:
    for outcome, count in observed.load.ended.items():
        query = f'sum(trialbus_trials_ended_total{{outcome="{outcome}"}})'
        assert observed.value(query) == count, outcome


def test_times_are_in_seconds(observed: Observed) -> None:
    failing = '{outcome="Failed"}'
    spent = observed.value(f"sum(trialbus_trial_seconds_total{failing})")
    mean = spent / observed.load.ended["Failed"]
    assert FAILS_AFTER_S <= mean < FAILS_AFTER_S + 2
    slow = '{algorithm="slow"}'
    burned = observed.value(f"sum(trialbus_algorithm_point_seconds_sum{slow})")
    points = observed.value(f"sum(trialbus_algorithm_point_seconds_count{slow})")
    assert misbehaving_parts.BURNS_S <= burned / points < misbehaving_parts.BURNS_S + 1


def test_memory_is_in_bytes_and_processor_time_in_seconds(observed: Observed) -> None:
    process = psutil.Process(observed.stack.process("experiment").pid)
    shown = observed.value('process_resident_memory_bytes{service="experiment"}')
    assert 0.5 < shown / process.memory_info().rss < 2
    times = process.cpu_times()
    used = observed.value('process_cpu_seconds_total{service="experiment"}')
    assert 0.5 * used <= times.user + times.system < used + 10


# --- Exemplars


def test_exemplars_lead_to_traces_that_were_told(observed: Observed) -> None:
    query = "trialbus_suggestion_seconds_bucket"
    found = observed.prometheus.exemplars(query, observed.since, time.time())
    assert found
    told = {span.trace_id for span in observed.traces.spans}
    assert {it["labels"]["trace_id"] for it in found} <= told
