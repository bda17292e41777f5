"""Collectors and architecture searches, as the kernel has them and as documents keep them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.kernel.catalogue import AlgorithmDescription, Setting, check_settings, read_settings
from trialbus.kernel.errors import Refused
from trialbus.kernel.space_rules import Parameter
from trialbus.kernel.spec import (
    CollectorKind,
    ExperimentSpec,
    MetricsCollectorSpec,
    MetricsEndpoint,
    MetricsFormat,
    MetricsPath,
    NasConfig,
    NasOperation,
    PathKind,
    Place,
)
from trialbus.testkit.katib_cases import CATALOGUE, Object

VALID = (Path(__file__).parents[1] / "data" / "katib" / "valid.yaml").read_text()
SPEC: TypeAdapter[ExperimentSpec] = TypeAdapter(ExperimentSpec)


def parse(**spec: Any) -> ExperimentSpec:
    obj: Object = yaml.safe_load(VALID)
    obj["spec"] |= spec
    for name in [name for name, value in spec.items() if value is None]:
        del obj["spec"][name]
    parsed = parse_experiment(obj, catalogue=CATALOGUE, place=Place.CLUSTER).spec
    assert SPEC.validate_python(SPEC.dump_python(parsed, mode="json")) == parsed
    return parsed


def collected(kind: str, source: Any = None, custom: Any = None) -> MetricsCollectorSpec:
    wire = {"collector": {"kind": kind, "customCollector": custom}, "source": source}
    return parse(metricsCollectorSpec=wire).metrics_collector


FORMATS = {"filter": {"metricsFormat": [r"(\w+): (\d+)"]}}


def test_stdout_has_only_filters() -> None:
    path = {"fileSystemPath": {"path": "/x", "kind": "Pipe"}, **FORMATS}
    assert collected("StdOut", path) == MetricsCollectorSpec(filters=(r"(\w+): (\d+)",))


def test_a_file_has_a_path_and_for_text_filters() -> None:
    assert collected("File", FORMATS) == MetricsCollectorSpec(
        kind=CollectorKind.FILE,
        filters=(r"(\w+): (\d+)",),
        path=MetricsPath(path="/var/log/katib/metrics.log", kind=PathKind.FILE),
    )
    assert collected("File", {"fileSystemPath": {"path": "/m", "format": "JSON"}}).path == (
        MetricsPath(path="/m", kind=PathKind.FILE, format=MetricsFormat.JSON)
    )


def test_tensorflow_events_are_in_a_folder() -> None:
    assert collected("TensorFlowEvent", FORMATS) == MetricsCollectorSpec(
        kind=CollectorKind.TENSORFLOW_EVENT,
        path=MetricsPath(path="/var/log/katib/tfevent/", kind=PathKind.DIRECTORY),
    )


def test_prometheus_is_asked_at_an_endpoint() -> None:
    assert collected("PrometheusMetric").endpoint == MetricsEndpoint(port=8080, path="/metrics")
    headers = [{"name": "Authorization", "value": "Bearer x"}, {"name": "Empty"}]
    get = {"port": "9000", "path": "/p", "host": "h", "scheme": "HTTPS", "httpHeaders": headers}
    assert collected("PrometheusMetric", {"httpGet": get}) == MetricsCollectorSpec(
        kind=CollectorKind.PROMETHEUS_METRIC,
        endpoint=MetricsEndpoint(
            port=9000,
            path="/p",
            host="h",
            scheme="HTTPS",
            headers=(("Authorization", "Bearer x"), ("Empty", "")),
        ),
    )


def test_a_custom_collector_is_a_container_as_written() -> None:
    container = {"name": "own", "image": "own:1", "env": [{"name": "A", "value": "b"}]}
    assert collected("Custom", custom=container) == MetricsCollectorSpec(
        kind=CollectorKind.CUSTOM, container=container
    )
    at = {"fileSystemPath": {"path": "/m", "kind": "Directory", "format": "whatever"}}
    assert collected("Custom", at, container).path == MetricsPath(
        path="/m", kind=PathKind.DIRECTORY
    )


def test_pushing_needs_nothing() -> None:
    assert collected("Push") == MetricsCollectorSpec(kind=CollectorKind.PUSH)


@pytest.mark.parametrize("mention", ["$(TRIALBUS_METRICS_PORT)", "echo $TRIALBUS_METRICS_PORT"])
def test_on_one_machine_trials_share_no_port(mention: str) -> None:
    obj: Object = yaml.safe_load(VALID)
    obj["spec"]["metricsCollectorSpec"] = {"collector": {"kind": "PrometheusMetric"}}
    with pytest.raises(Refused, match=r"spec\.parallelTrialCount: 2: must be 1"):
        parse_experiment(obj, catalogue=CATALOGUE)
    pod = obj["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    pod["containers"][0]["command"].append(mention)
    assert parse_experiment(obj, catalogue=CATALOGUE).spec.parallel_trial_count == 2
    del obj["spec"]["trialTemplate"]
    with pytest.raises(Refused, match="must be 1"):
        parse_experiment(obj, catalogue=CATALOGUE)


def test_an_architecture_search_has_operations_and_free_references() -> None:
    obj: Object = yaml.safe_load(VALID)
    template = obj["spec"]["trialTemplate"]
    template["trialParameters"][0]["reference"] = "architecture"
    template["trialParameters"][1]["reference"] = "nn_config"
    space = {"min": "2", "max": "3", "step": "1"}
    spec = parse(
        parameters=None,
        algorithm={"algorithmName": "enas", "algorithmSettings": [{"name": "x", "value": "1"}]},
        trialTemplate=template,
        nasConfig={
            "graphConfig": {"numLayers": 2, "inputSizes": [8, 8]},
            "operations": [
                {
                    "operationType": "pool",
                    "parameters": [
                        {"name": "size", "parameterType": "int", "feasibleSpace": space}
                    ],
                }
            ],
        },
    )
    assert spec.parameters == ()
    assert spec.algorithm.settings == (("x", "1"),)
    size = Parameter(name="size", type="int", min="2", max="3", step="1")
    assert spec.nas == NasConfig(
        num_layers=2,
        input_sizes=(8, 8),
        output_sizes=(),
        operations=(NasOperation(type="pool", parameters=(size,)),),
    )


def test_settings_that_another_server_checks_are_taken_as_they_are() -> None:
    known = Setting(name="seed", kind="int", check=lambda value: value >= 0, message="below 0")
    remote = AlgorithmDescription(name="remote", settings=(known,), any_settings=True)
    given = [("gamma", "0.25"), ("seed", "-1")]
    assert [(p.index, p.message) for p in check_settings(remote, given)] == [(1, "below 0")]
    assert read_settings(remote, [("gamma", "0.25"), ("seed", "3")]) == {"gamma": "0.25", "seed": 3}
    own = AlgorithmDescription(name="own", settings=(known,))
    assert [p.index for p in check_settings(own, given)] == [0, 1]
