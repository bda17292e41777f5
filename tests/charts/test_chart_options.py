"""Values that no example sets: all of them at once, and what they make of the objects."""

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
from tests.charts.policies import POLICIES

from making.charts.files import CHARTS, chart_values
from making.charts.service_values import SERVICE_CHARTS

Object = dict[str, Any]
Render = Callable[..., list[Object]]

DIGEST = "sha256:" + "0" * 64
PODS: Object = {
    "annotations": {"example.com/owner": "ml"},
    "podAnnotations": {"example.com/scrape": "no"},
    "podLabels": {"team": "ml"},
    "priorityClassName": "platform",
    "nodeSelector": {"pool": "cpu"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "tolerationSeconds": 60}],
    "topologySpread": [],
    "podDisruptionBudget": {"enabled": False},
    "serviceAccount": {"annotations": {"example.com/role": "x"}},
}
SERVICE: Object = {
    **PODS,
    "image": {"registry": "other.example.com/", "digest": DIGEST},
    "extraEnv": [
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ],
    "extraVolumes": [
        {"name": "more", "secret": {"secretName": "more"}},
        {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}},
    ],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more", "readOnly": True}],
    "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443}]}],
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
}
LAG = {"enabled": True, "lag": {"type": "Pods", "metric": "waiting"}}
SERVERS: Object = {**PODS, "persistence": {"enabled": False}}
EVERYTHING: Object = {
    "global": {
        "listenOn": "::",
        "labels": {"cost-centre": "17"},
        "security": {"runAsUser": 0, "runAsGroup": 0, "fsGroup": 0},
        "gateway": {"tlsSecret": "gateway-tls", "trialUrl": "http://inside:8080"},
        "nats": {"members": 3, "tlsSecret": "nats-tls", "verifyClients": False},
        "mongodb": {"members": 3, "tlsSecret": "mongodb-tls"},
        "networkPolicy": {"dns": [], "monitoring": []},
        "tracing": {"endpoint": "https://traces.example.com/otlp", "ratio": 1},
    },
    "monitoring": {
        "rules": {"enabled": True, "kind": "ConfigMap", "labels": {"rules": "yes"}},
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "ML"}},
        "dataSource": {"enabled": True, "tokenVariable": ""},
    },
    **{
        chart.name: {**SERVICE, **({"autoscaling": LAG} if chart.scales_by == "lag" else {})}
        for chart in SERVICE_CHARTS
    },
    "nats": {**SERVERS, "serverTlsSecret": "nats-server"},
    "mongodb": {**SERVERS, "serverTlsSecret": "mongodb-server"},
}
EVERYTHING["gateway"] = {
    **EVERYTHING["gateway"],
    "serviceAccount": {"name": "mine"},
    "settings": {"kubernetes_audience": "trialbus"},
    "service": {"type": "LoadBalancer", "annotations": {"example.com/internal": "yes"}},
    "webhooksSecret": {"name": "hooks"},
}


@pytest.fixture(scope="module")
def objects(charts: object, render: Render) -> list[Object]:
    return render(EVERYTHING)


def _pods(objects: list[Object], *kinds: str) -> list[Object]:
    return [it["spec"]["template"] for it in objects if it["kind"] in kinds]


def test_kubernetes_takes_all_of_them(objects: list[Object]) -> None:
    seen = 0
    for it in objects:
        if it["kind"] not in ("ServiceMonitor", "PrometheusRule"):
            kubernetes_validate.validate(it, "1.36", strict=True)
            seen += 1
    assert seen > 40


@pytest.mark.parametrize("policy", POLICIES, ids=lambda it: it.__name__)
def test_no_value_breaks_a_policy(objects: list[Object], policy: Callable[..., Any]) -> None:
    assert list(policy(objects)) == []


def test_pods_are_as_the_values_say(objects: list[Object]) -> None:
    pods = _pods(objects, "Deployment", "StatefulSet")
    assert len(pods) == 8
    for pod in pods:
        assert pod["metadata"]["annotations"]["example.com/scrape"] == "no"
        assert pod["metadata"]["labels"]["team"] == "ml"
        assert pod["spec"]["priorityClassName"] == "platform"
        assert pod["spec"]["nodeSelector"] == {"pool": "cpu"}
        assert "topologySpreadConstraints" not in pod["spec"]
        security = pod["spec"]["securityContext"]
        assert {"runAsUser", "runAsGroup", "fsGroup"} & security.keys() == set()
    for pod in _pods(objects, "Deployment"):
        [container] = pod["spec"]["containers"]
        assert container["image"].startswith("other.example.com/trialbus/")
        assert container["image"].endswith(DIGEST)
        assert {"name": "more", "mountPath": "/more", "readOnly": True} in container["volumeMounts"]


def test_a_server_whose_configuration_changes_is_started_anew(render: Render) -> None:
    def marks(values: Object) -> list[str]:
        return [
            pod["metadata"]["annotations"]["trialbus.io/configuration"]
            for pod in _pods(render(values), "StatefulSet")
        ]

    changed = {"nats": {"maxFileStore": "2Gi"}, "mongodb": {"cacheGb": 1}}
    assert not set(marks({})) & set(marks(changed))
    assert marks({}) == marks({"gateway": {"replicas": 2}})


def test_every_group_of_values_is_told_in_the_readme() -> None:
    text = (CHARTS / "README.md").read_text()
    of_servers = {"serverTlsSecret", "syncInterval", "maxFileStore", "maxMemoryStore", "cacheGb"}
    of_servers |= {"oplogMb", "initiate", "terminationGracePeriodSeconds"}
    names = {part.name for parts in chart_values().values() for part in parts}
    ours = names - of_servers - chart_values().keys() - {"global"}
    untold = {it for it in ours if it not in text}
    assert untold == set()
