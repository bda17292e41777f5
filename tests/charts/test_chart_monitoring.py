"""What Prometheus and Grafana are given: rules, dashboards, targets, a data source, traces."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from making.charts.files import CHARTS, REPOSITORY
from making.dashboards.files import dashboard_files
from making.rules.files import PACKAGED
from making.rules.recording import HOPS

Object = dict[str, Any]
Render = Callable[..., list[Object]]

PROMTOOL = shutil.which("promtool")
# What etcd takes of one object is 1.5 MiB, of a ConfigMap's data 1 MiB.
MOST_BYTES = 1024 * 1024
SERVICES = {
    "experiment": "experiment",
    "suggestion": "suggestion",
    "trial-launcher": "trial_launcher",
    "metrics-collector": "metrics_collector",
    "early-stopping": "early_stopping",
    "gateway": "gateway",
}
ALL: Object = {
    "global": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "monitoring": {
        "rules": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "runbookUrl": "https://example.com/runbook",
        },
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "ML"}},
        "dataSource": {"enabled": True},
    },
}


@pytest.fixture(scope="module")
def objects(charts: object, render: Render) -> list[Object]:
    return render(ALL)


def _of(objects: list[Object], kind: str, name: str) -> Object:
    found = [it for it in objects if (it["kind"], it["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, name
    return found[0]


def test_nothing_of_it_is_there_unless_it_is_asked_for(
    renderings: Mapping[str, list[Object]],
) -> None:
    kinds = {"ServiceMonitor", "PrometheusRule"}
    names = ("trialbus-rules", "trialbus-dashboard", "trialbus-data-source")
    for it in renderings["default"]:
        assert it["kind"] not in kinds
        assert not it["metadata"]["name"].startswith(names)
        if it["kind"] == "Deployment":
            assert "TRACE" not in json.dumps(it)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_scraped_with_the_labels_that_rules_expect(
    objects: list[Object], service: str
) -> None:
    monitor = _of(objects, "ServiceMonitor", f"trialbus-{service}")
    [endpoint] = monitor["spec"]["endpoints"]
    set_labels = {it["targetLabel"]: it["replacement"] for it in endpoint["relabelings"]}
    assert set_labels == {"job": "trialbus", "service": SERVICES[service]}
    assert endpoint["honorLabels"] is True
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == (
        "health",
        "/metrics",
        "30s",
    )
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    chosen = monitor["spec"]["selector"]["matchLabels"].items()
    ports = [
        port["name"]
        for it in objects
        if it["kind"] == "Service" and chosen <= it["metadata"]["labels"].items()
        for port in it["spec"]["ports"]
    ]
    assert ports.count("health") == 1


def test_one_service_can_be_scraped_alone_and_more_often(render: Render) -> None:
    own = {"enabled": True, "interval": "5s", "labels": {"team": "ml"}}
    objects = render({"experiment": {"serviceMonitor": own}})
    [monitor] = [it for it in objects if it["kind"] == "ServiceMonitor"]
    assert monitor["metadata"]["name"] == "trialbus-experiment"
    assert monitor["metadata"]["labels"]["team"] == "ml"
    assert monitor["spec"]["endpoints"][0]["interval"] == "5s"


def test_the_rules_are_those_of_the_wheel_and_lead_to_the_runbook(objects: list[Object]) -> None:
    rule = _of(objects, "PrometheusRule", "trialbus-rules")
    told = PACKAGED.read_text().replace("docs/operations/runbook.md", "https://example.com/runbook")
    assert rule["spec"] == yaml.safe_load(told)
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    urls = [
        it["annotations"]["runbook_url"]
        for group in rule["spec"]["groups"]
        for it in group["rules"]
        if "alert" in it
    ]
    assert len(urls) > 40
    assert all(it.startswith("https://example.com/runbook#trialbus") for it in urls)


def test_the_rules_may_be_a_plain_file(render: Render) -> None:
    objects = render({"monitoring": {"rules": {"enabled": True, "kind": "ConfigMap"}}})
    text = _of(objects, "ConfigMap", "trialbus-rules")["data"]["trialbus.yaml"]
    assert yaml.safe_load(text) == yaml.safe_load(PACKAGED.read_text())
    assert HOPS.name in text


def test_every_dashboard_is_there_as_it_is(objects: list[Object]) -> None:
    found = {
        name: text
        for it in objects
        if it["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        for name, text in it["data"].items()
    }
    expected = {path.name: json.loads(path.read_text()) for path in dashboard_files()}
    assert {name: json.loads(text) for name, text in found.items()} == expected
    for it in objects:
        assert len(json.dumps(it).encode()) < MOST_BYTES, it["metadata"]["name"]
    overview = _of(objects, "ConfigMap", "trialbus-dashboard-overview")
    assert overview["metadata"]["annotations"] == {"grafana_folder": "ML"}


def _source(objects: list[Object], name: str = "trialbus") -> Object:
    config = _of(objects, "ConfigMap", f"{name}-data-source")
    assert config["metadata"]["labels"]["grafana_datasource"] == "1"
    [text] = config["data"].values()
    [source] = yaml.safe_load(text)["datasources"]
    return dict(source)


def test_the_gateway_is_a_data_source_with_a_token_out_of_grafanas_environment(
    objects: list[Object],
) -> None:
    source = _source(objects)
    assert source["type"] == "prometheus"
    assert source["url"] == "http://trialbus-gateway.trialbus.svc/prometheus"
    assert "trialbus" in source["name"]
    assert source["jsonData"]["httpHeaderName1"] == "Authorization"
    assert source["secureJsonData"] == {"httpHeaderValue1": "Bearer $TRIALBUS_TOKEN"}


def test_two_installations_are_two_data_sources(objects: list[Object], render: Render) -> None:
    values = {
        "global": {"prefix": "p" * 40, "gateway": {"tlsSecret": "tls", "trialUrl": "http://a"}},
        "monitoring": {"dataSource": {"enabled": True, "tokenVariable": ""}},
    }
    other, ours = _source(render(values), "p" * 40), _source(objects)
    assert other["url"].startswith("https://")
    assert "secureJsonData" not in other
    assert other["name"] != ours["name"]
    assert other["uid"] != ours["uid"]
    # Grafana's bound.
    assert len(other["uid"]) <= 40


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://otel.monitoring.svc:4318", 4318),
        ("https://traces.example.com/otlp", 443),
        ("http://otel", 80),
        ("http://[fd00::1]:4318", 4318),
    ],
)
def test_traces_get_out_to_their_collector_alone(render: Render, endpoint: str, port: int) -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = render(
        {
            "global": {
                "tracing": {"endpoint": endpoint, "ratio": 0.01},
                "networkPolicy": {"tracing": peers},
            }
        }
    )
    for name in SERVICES:
        deployment = _of(objects, "Deployment", f"trialbus-{name}")
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        environment = {it["name"]: it.get("value") for it in container["env"]}
        assert environment["TRIALBUS_TRACE_ENDPOINT"] == endpoint
        assert environment["TRIALBUS_TRACE_RATIO"] == "0.01"
        egress = _of(objects, "NetworkPolicy", f"trialbus-{name}")["spec"]["egress"]
        assert {"ports": [{"protocol": "TCP", "port": port}], "to": peers} in egress


PAGES = (
    "docs/operations/README.md",
    "docs/how-to/install-on-kubernetes.md",
    "docs/how-to/use-the-dashboards.md",
)


def _blocks(page: str) -> list[Object]:
    """The YAML that a page shows."""
    text = (REPOSITORY / page).read_text()
    return [yaml.safe_load(it) for it in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)]


@pytest.mark.parametrize("page", PAGES)
def test_values_that_pages_show_are_taken(render: Render, page: str) -> None:
    shown = [it for it in _blocks(page) if "monitoring" in it]
    assert shown
    for values in shown:
        assert any("grafana_datasource" in it["metadata"]["labels"] for it in render(values))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_takes_the_scrape_that_the_page_shows(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    [shown] = [it for it in _blocks(PAGES[0]) if "scrape_configs" in it]
    # Debian's promtool is built without Kubernetes.
    assert shown["scrape_configs"][0].pop("kubernetes_sd_configs")
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump({**shown, "rule_files": [str(PACKAGED)]}))
    done = subprocess.run(
        [PROMTOOL, "check", "config", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    relabelled = {
        it["replacement"]
        for it in shown["scrape_configs"][0]["relabel_configs"]
        if "regex" in it and it.get("target_label") == "service"
    }
    assert relabelled == {it for it in SERVICES.values() if "_" in it}


def test_what_scales_by_lag_asks_for_the_lag_of_its_own_service(render: Render) -> None:
    scaled = [it for it in SERVICES if it not in ("gateway", "trial-launcher")]
    objects = render({name: {"autoscaling": {"enabled": True}} for name in scaled})
    for name in scaled:
        [metric] = _of(objects, "HorizontalPodAutoscaler", f"trialbus-{name}")["spec"]["metrics"]
        assert metric["external"]["metric"] == {
            "name": "trialbus_consumer_lag_messages",
            "selector": {"matchLabels": {"service": SERVICES[name]}},
        }
    # The page has the adapter's rule for exactly that.
    page = (CHARTS / "README.md").read_text()
    rule = yaml.safe_load(page.split("```yaml\n", 1)[1].split("```", 1)[0])[0]
    assert rule["name"] == {"as": "trialbus_consumer_lag_messages"}
    assert rule["metricsQuery"] == "max by (service) (<<.Series>>{<<.LabelMatchers>>})"
