"""Values: refused when wrong, and what they do when right."""

from collections.abc import Callable, Mapping
from typing import Any

import helm_python as helm
import pytest

from making.charts.files import CHARTS, chart_values
from making.charts.settings import BY_OTHER_VALUES, ONE_MACHINE, settings_schema
from making.charts.values import Group, Value
from trialbus.contracts.cluster_permissions import PERMISSIONS, TRIAL_KINDS, permissions_of
from trialbus.kernel import limits
from trialbus.runtime.settings import Settings

STREAMS_BYTES = limits.EVENT_STREAM_BYTES + limits.DEAD_LETTER_STREAM_BYTES
Object = dict[str, Any]
Render = Callable[..., list[Object]]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"gateway": {"replica": 2}}, "replica"),
        ({"gateway": {"replicas": "two"}}, "replicas"),
        ({"gateway": {"replicas": -1}}, "replicas"),
        ({"experiment": {"settings": {"log_levle": "debug"}}}, "log_levle"),
        ({"global": {"settings": {"drain_deadline_s": "long"}}}, "drain_deadline_s"),
        ({"global": {"settings": {"nats_url": "nats://elsewhere:4222"}}}, "nats_url"),
        ({"global": {"settings": {"pod_security": "privileged"}}}, "pod_security"),
        ({"global": {"image": {"tag": "latest"}}}, "tag"),
        ({"global": {"namespaces": ["Team A"]}}, "namespaces"),
        ({"global": {"nats": {"members": 2}}}, "members"),
        ({"suggestion": {"resources": {"limits": {"memory": None}}}}, "memory"),
        ({"trial-launcher": {"kinds": ["*"]}}, "kinds"),
        ({"trial-launcher": {"kinds": ["secrets"]}}, "kinds"),
        (
            {"gateway": {"extraVolumes": [{"name": "x", "hostPath": {"path": "/"}}]}},
            "extraVolumes",
        ),
        ({"gateway": {"extraEnv": [{"name": "A", "valu": "x"}]}}, "extraEnv"),
        ({"mongodb": {"persistence": {"size": "20 GB"}}}, "size"),
        ({"install": {"redis": True}}, "redis"),
    ],
)
def test_wrong_values_are_refused_and_named(render: Render, values: Object, told: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=told):
        render(values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"gateway": {"tokensSecret": {"name": ""}}}, "who may use the gateway"),
        ({"global": {"nats": {"tlsSecret": "x"}}}, "nats.serverTlsSecret"),
        ({"global": {"mongodb": {"tlsSecret": "x"}}}, "mongodb.serverTlsSecret"),
        ({"global": {"nats": {"url": "nats://a:4222"}}}, "install.nats"),
        ({"global": {"mongodb": {"urlSecret": {"name": "x"}}}}, "install.mongodb"),
        ({"trial-launcher": {"trialNetworkPolicy": {"enabled": True}}}, "global.namespaces"),
        ({"nats": {"maxFileStore": "1279Mi"}}, "nats.maxFileStore is too small"),
        ({"global": {"nats": {"eventBytes": 4 * 1024**3}}}, "nats.maxFileStore is too small"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    render: Render, values: Object, told: str
) -> None:
    with pytest.raises(helm.HelmRenderError, match=told):
        render(values)


def test_the_bus_has_room_for_its_streams_and_not_for_more(render: Render) -> None:
    """What one MiB less does is refused, see above."""
    assert STREAMS_BYTES == 1280 * 1024**2
    assert render({"nats": {"maxFileStore": "1280Mi"}})


def _of(objects: list[Object], kind: str, name: str) -> Object:
    found = [it for it in objects if (it["kind"], it["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, name
    return found[0]


def _environment(deployment: Object) -> Mapping[str, str]:
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {it["name"]: it.get("value", "") for it in container["env"]}


def test_settings_become_the_environment_and_the_services_own_win(render: Render) -> None:
    values = {
        "global": {"settings": {"finished_retention_s": 7776000, "log_level": "debug"}},
        "suggestion": {
            "settings": {"log_level": "warning", "remote_algorithms": {"mine": "mine:6789"}}
        },
    }
    objects = render(values)
    suggestion = _environment(_of(objects, "Deployment", "trialbus-suggestion"))
    experiment = _environment(_of(objects, "Deployment", "trialbus-experiment"))
    assert experiment["TRIALBUS_LOG_LEVEL"] == "debug"
    assert suggestion["TRIALBUS_LOG_LEVEL"] == "warning"
    assert suggestion["TRIALBUS_FINISHED_RETENTION_S"] == "7776000"
    assert suggestion["TRIALBUS_REMOTE_ALGORITHMS"] == '{"mine":"mine:6789"}'


@pytest.mark.parametrize("service", ["gateway", "experiment", "suggestion", "trial-launcher"])
def test_a_services_environment_is_one_that_it_can_read(
    renderings: Mapping[str, list[Object]], service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its names are settings, and the values pass."""
    for name in ("default", "production", "external", "namespaced", "laptop-kind"):
        deployment = _of(renderings[name], "Deployment", f"trialbus-{service}")
        environment = _environment(deployment)
        ours = {it.removeprefix("TRIALBUS_").lower() for it in environment if "TRIALBUS_" in it}
        assert ours <= Settings.model_fields.keys()
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        settings = Settings()  # type: ignore[call-arg]
        assert settings.place == "kubernetes"
        assert settings.health_port == 8081


def test_a_pod_has_its_drain_and_some_more_until_it_is_killed(render: Render) -> None:
    objects = render({"experiment": {"settings": {"drain_deadline_s": 42.5}}})
    for name, seconds in (("experiment", 58), ("gateway", 25)):
        pod = _of(objects, "Deployment", f"trialbus-{name}")["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == seconds


def _granted(objects: list[Object], name: str) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for it in objects
        if it["kind"] in ("Role", "ClusterRole") and it["metadata"]["name"].startswith(name)
        for rule in it["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("service", sorted({it.service for it in PERMISSIONS}))
@pytest.mark.parametrize("namespaces", [[], ["a", "b"]])
def test_roles_give_what_the_table_says_and_no_more(
    render: Render, service: str, namespaces: list[str]
) -> None:
    values = {
        "global": {"namespaces": namespaces},
        "gateway": {"settings": {"kubernetes_audience": "trialbus"}},
    }
    name = f"trialbus-trialbus-{service.replace('_', '-')}"
    wanted = {(it.group, it.resource, verb) for it in permissions_of(service) for verb in it.verbs}
    objects = render(values)
    assert _granted(objects, name) == wanted
    roles = [it for it in objects if it["kind"] == "Role" and it["metadata"]["name"] == name]
    assert sorted(it["metadata"]["namespace"] for it in roles) == namespaces


def test_a_service_that_needs_nothing_of_the_cluster_gets_nothing(render: Render) -> None:
    objects = render({"gateway": {"customResources": {"enabled": False}}})
    assert _granted(objects, "trialbus-trialbus-gateway") == set()
    pod = _of(objects, "Deployment", "trialbus-gateway")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False


def test_the_launcher_may_make_the_kinds_that_it_is_told(render: Render) -> None:
    objects = render({"trial-launcher": {"kinds": [*TRIAL_KINDS, "mycrons.stable.example.com"]}})
    granted = _granted(objects, "trialbus-trialbus-trial-launcher")
    for group, resource in [*TRIAL_KINDS.values(), ("stable.example.com", "mycrons")]:
        assert (group, resource, "create") in granted
    assert len({it[:2] for it in granted if it[2] == "create"}) == len(TRIAL_KINDS) + 1


def test_single_charts_under_one_prefix_find_each_other(render: Render) -> None:
    shared = {"global": {"prefix": "tuning"}}
    whole = render(shared, namespace="ml")
    for chart in ("gateway", "experiment", "suggestion", "trial-launcher", "nats", "mongodb"):
        alone = render(shared, chart, name=f"{chart}-1", namespace="ml")
        for it in alone:
            assert it == _of(whole, it["kind"], it["metadata"]["name"])


def test_a_job_that_changes_is_another_job(render: Render) -> None:
    def names(values: Object) -> set[str]:
        return {it["metadata"]["name"] for it in render(values) if it["kind"] == "Job"}

    first = names({})
    assert len(first) == 2
    assert names({}) == first
    assert not names({"global": {"image": {"tag": "0.2.0"}}}) & first
    assert len(names({"provision": {"again": "after the keys"}}) & first) == 1


def test_parts_that_are_left_out_are_not_there(render: Render) -> None:
    values = {"install": {"early-stopping": False}, "provision": {"enabled": False}}
    names = {it["metadata"]["name"] for it in render(values)}
    assert not any("early-stopping" in name or "provision" in name for name in names)


def test_two_installations_in_two_namespaces_share_nothing(render: Render) -> None:
    def cluster_wide(namespace: str) -> set[str]:
        objects = render({}, namespace=namespace)
        return {it["metadata"]["name"] for it in objects if it["kind"].startswith("Cluster")}

    assert cluster_wide("one")
    assert not cluster_wide("one") & cluster_wide("two")


def test_a_long_name_of_an_installation_stays_a_label(render: Render) -> None:
    instances = set()
    for namespace in ("n" * 63, "n" * 62 + "m"):
        objects = render({"global": {"prefix": "p" * 40}}, namespace=namespace)
        launcher = _of(objects, "Deployment", f"{'p' * 40}-trial-launcher")
        instances.add(_environment(launcher)["TRIALBUS_KUBERNETES_INSTANCE"])
    assert len(instances) == 2
    assert all(len(it) <= 63 for it in instances)


def test_every_setting_is_a_value_or_follows_from_others() -> None:
    known = settings_schema()["properties"].keys()
    assert known | BY_OTHER_VALUES | ONE_MACHINE == Settings.model_fields.keys()
    assert not known & (BY_OTHER_VALUES | ONE_MACHINE)


def test_every_value_has_a_sentence() -> None:
    def abouts(part: Value | Group) -> list[str]:
        inner = (
            [it for each in part.parts for it in abouts(each)] if isinstance(part, Group) else []
        )
        return [part.about, *inner]

    for name, parts in chart_values().items():
        assert all(len(it) > 5 and it.endswith(".") for part in parts for it in abouts(part)), name
        assert (CHARTS / name / "values.yaml").read_text().startswith("# ")


def test_the_wrapper_is_not_sent_to_an_address_that_it_cannot_speak_to(render: Render) -> None:
    values: Object = {"global": {"gateway": {"tlsSecret": "gateway-tls"}}}
    for url in ("", "HTTPS://inside.ml.svc", "inside.ml.svc:8080"):
        values["global"]["gateway"]["trialUrl"] = url
        with pytest.raises(helm.HelmRenderError, match="alone, no https"):
            render(values)
    values["global"]["gateway"]["trialUrl"] = "http://inside.ml.svc:8080"
    launcher = _of(render(values), "Deployment", "trialbus-trial-launcher")
    assert _environment(launcher)["TRIALBUS_TRIAL_GATEWAY_URL"] == "http://inside.ml.svc:8080"


def test_a_gateway_that_passes_the_kubernetes_api_on_may_reach_it(render: Render) -> None:
    values: Object = {"customResources": {"enabled": False}}
    for forwards in (False, True):
        values["settings"] = {"forward_kubernetes": forwards}
        policy = _of(render({"gateway": values}), "NetworkPolicy", "trialbus-gateway")
        ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
        assert (6443 in ports) is forwards
