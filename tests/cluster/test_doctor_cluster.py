"""`trialbus doctor --cluster`: what it finds, what it advises, and how it ends."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from tests.cluster.double.server import Double
from typer.testing import CliRunner

from trialbus.cli.cluster_doctor import checks
from trialbus.cli.doctor import Check
from trialbus.cli.doctor_commands import OF_CLUSTER
from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.main import app
from trialbus.contracts.cluster_permissions import PERMISSIONS, TRIAL_KIND_VERSIONS, TRIAL_KINDS
from trialbus.contracts.nats_identities import GATEWAY, TRIAL_LAUNCHER
from trialbus.local.servers.ports import free_ports
from trialbus.runtime.settings import Settings

DEFINITIONS = Path(__file__).parents[2] / "deploy/crds"


def settings_for(double: Double, **more: object) -> Settings:
    return Settings(kubeconfig=str(double.kubeconfig), **more)  # type: ignore[arg-type]


def found_by(settings: Settings, *services: str) -> dict[str, Check]:
    found = asyncio.run(checks(settings, services or (TRIAL_LAUNCHER, GATEWAY)))
    return {check.name: check for check in found}


def test_a_cluster_that_gives_everything_lacks_nothing(double: Double) -> None:
    for path in DEFINITIONS.glob("*.yaml"):
        double.create(yaml.safe_load(path.read_text()))
    given = {"custom_resources": True, "kubernetes_audience": "trialbus"}
    images = {"wrapper_image": "wrapper:1", "trial_gateway_url": "http://gateway.trialbus:8080"}
    found = found_by(settings_for(double, **given, **images))
    assert [check for check in found.values() if not check.good] == []
    assert found["trial_launcher: jobs.batch in the cluster"].found == (
        "get list watch create patch delete"
    )
    assert found["custom resources"].found == "Experiment, Trial, Suggestion"
    assert "Job" in found["kinds of trials"].found.split(", ")
    # One line for each that the table promises.
    assert len([name for name in found if ": " in name]) == len(PERMISSIONS)


def test_what_a_role_lacks_is_said_with_what_it_is_for(double: Double) -> None:
    double.access.deny("create", "jobs.batch", "team-b")
    double.access.deny("get", "pods/log", "team-b")
    settings = settings_for(double, kubernetes_namespaces="team-a,team-b")
    found = found_by(settings, TRIAL_LAUNCHER)
    bad = {name: check for name, check in found.items() if check.needed and not check.good}
    assert sorted(bad) == [
        "trial_launcher: jobs.batch in team-b",
        "trial_launcher: pods/log in team-b",
    ]
    jobs = bad["trial_launcher: jobs.batch in team-b"]
    assert jobs.found == "get list watch patch delete"
    assert jobs.remedy == (
        "let trial_launcher create them, to make the objects of runs, follow them to their end, "
        "and remove them"
    )
    assert found["trial_launcher: jobs.batch in team-a"].good


def test_only_what_the_settings_need_is_needed(double: Double) -> None:
    found = found_by(settings_for(double))
    assert not any(name.startswith("gateway: ") for name in found)
    assert (found["custom resources"].good, found["custom resources"].needed) == (False, False)
    assert (found["wrapper image"].good, found["wrapper image"].needed) == (False, False)
    wanted = found_by(settings_for(double, custom_resources=True, wrapper_image="wrapper:1"))
    for name in ("custom resources", "gateway for trials"):
        assert (wanted[name].good, wanted[name].needed) == (False, True)
        assert wanted[name].remedy


def test_a_gateway_that_the_wrapper_cannot_speak_to_is_told(double: Double) -> None:
    url = {"trial_gateway_url": "https://gateway.trialbus"}
    assert found_by(settings_for(double, **url))["gateway for trials"].good
    found = found_by(settings_for(double, **url, wrapper_image="wrapper:1"))["gateway for trials"]
    assert (found.good, found.needed) == (False, True)
    assert "https" in found.found and "plain HTTP" in found.remedy


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "token").write_text("t")
    settings = Settings(  # type: ignore[call-arg]
        kubernetes_api=f"http://127.0.0.1:{port}", kubernetes_credentials_dir=str(tmp_path)
    )
    found = found_by(settings)
    assert list(found) == ["API server"]
    assert not found["API server"].good
    assert str(port) in found["API server"].found


def test_credentials_that_are_not_taken_are_one_line(double: Double) -> None:
    double.access.token = "another"
    found = found_by(settings_for(double))
    assert list(found) == ["API server"]
    assert "credentials" in found["API server"].remedy


def test_the_command_ends_with_1_when_something_is_missing(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIALBUS_KUBECONFIG", str(double.kubeconfig))
    runner = CliRunner()
    good = runner.invoke(app, ["doctor", "--cluster"])
    assert good.exit_code == 0, good.output
    assert "ok        API server" in good.output
    double.access.deny("list", "pods")
    bad = runner.invoke(app, ["doctor", "--cluster", "--json"])
    assert bad.exit_code == 1
    missing = [each["name"] for each in json.loads(bad.stdout) if not each["good"]]
    assert "trial_launcher: pods in the cluster" in missing
    gateway = runner.invoke(app, ["doctor", "--cluster", "--service", "gateway"])
    assert gateway.exit_code == 0, gateway.output


def test_the_services_that_it_names_are_those_of_the_bus() -> None:
    assert (TRIAL_LAUNCHER, GATEWAY) == OF_CLUSTER


def test_a_service_that_needs_no_cluster_is_refused() -> None:
    outcome = CliRunner().invoke(app, ["doctor", "--cluster", "--service", "suggestion"])
    assert isinstance(outcome.exception, CommandFailed)
    assert outcome.exception.code == REFUSED


def test_what_services_may_is_no_more_than_each_needs() -> None:
    for each in PERMISSIONS:
        assert "*" not in (each.group, each.resource, *each.verbs)
        assert each.resource not in ("secrets", "roles", "clusterroles", "pods/exec", "pods/attach")
        assert set(each.verbs) <= {"get", "list", "watch", "create", "patch", "delete"}
    places = [(each.service, each.group, each.resource) for each in PERMISSIONS]
    assert len(places) == len(set(places))
    pods = [each.verbs for each in PERMISSIONS if each.resource == "pods"]
    assert pods == [("list", "watch")]
    assert set(TRIAL_KINDS) == set(TRIAL_KIND_VERSIONS)
