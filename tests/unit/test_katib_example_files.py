"""Katib's own example experiments: all keep its schema and rules, and one machine says at once
which of them it cannot run."""

from pathlib import Path

import pytest

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.errors import Refused
from trialbus.kernel.spec import CollectorKind, MetricsFormat, Place, ResumePolicy
from trialbus.runtime.catalogue import load_catalogue

FOLDER = Path(__file__).parents[2] / "examples" / "katib"
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
NEED_A_CLUSTER = {
    "argo-workflow": "Workflow of argoproj.io/v1alpha1 needs a cluster",
    "pytorchjob-mnist": "PyTorchJob of kubeflow.org/v1 needs a cluster",
}


CATALOGUE = load_catalogue()


def refused(name: str, place: Place, catalogue: Catalogue) -> list[tuple[str, str]]:
    """The problems of a file; none: it is taken."""
    document = load_document(FILES[name].read_bytes())
    try:
        parsed = parse_experiment(document, catalogue=catalogue, place=place)
    except Refused as problems:
        return [(problem.field, problem.message) for problem in problems.problems]
    assert parsed.name == document["metadata"]["name"]
    return []


def test_the_files_are_there() -> None:
    assert len(FILES) == 14
    assert FILES.keys() > NEED_A_CLUSTER.keys()


@pytest.mark.parametrize("name", FILES)
def test_every_file_passes_schema_and_rules(name: str) -> None:
    assert refused(name, Place.CLUSTER, CATALOGUE) == []


@pytest.mark.parametrize("name", FILES)
def test_one_machine_names_what_needs_a_cluster_in_one_problem(name: str) -> None:
    found = refused(name, Place.ONE_MACHINE, CATALOGUE)
    if name not in NEED_A_CLUSTER:
        assert found == []
        return
    [(field, message)] = found
    assert field == "spec.trialTemplate.trialSpec"
    assert message.startswith(NEED_A_CLUSTER[name])


def test_what_is_special_in_a_file_arrives() -> None:
    specs = {
        name: parse_experiment(
            load_document(path.read_bytes()), catalogue=CATALOGUE, place=Place.CLUSTER
        ).spec
        for name, path in FILES.items()
    }
    collector = specs["file-metrics-collector-with-json-format"].metrics_collector
    assert collector.kind is CollectorKind.FILE
    assert collector.path is not None
    assert (collector.path.path, collector.path.format) == (
        "/katib/mnist.json",
        MetricsFormat.JSON,
    )
    assert specs["from-volume-resume"].resume_policy is ResumePolicy.FROM_VOLUME
    assert specs["darts-cpu"].metrics_collector.filters == (r"([\w-]+)=(Genotype.*)",)
    nas = specs["enas-cpu"].nas
    assert nas is not None
    assert (nas.num_layers, nas.input_sizes, nas.output_sizes) == (1, (32, 32, 3), (10,))
    assert [operation.type for operation in nas.operations] == [
        "convolution",
        "separable_convolution",
        "depthwise_convolution",
        "reduction",
    ]
    pool_size = nas.operations[3].parameters[1]
    assert (pool_size.name, pool_size.min, pool_size.max, pool_size.step) == (
        "pool_size", "2", "3", "1",
    )  # fmt: skip
    argo = specs["argo-workflow"].template
    assert argo is not None
    assert argo.retain
    assert argo.success_condition == 'status.[@this].#(phase=="Succeeded")#'
    assert argo.primary_pod_labels == {"katib.kubeflow.org/model-training": "true"}
    assert [p.distribution for p in specs["hyperopt-distribution"].parameters] == [
        "normal", "uniform", "logUniform", "logNormal",
    ]  # fmt: skip
