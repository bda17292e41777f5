"""The files of examples/pipelines are what their programs take them for."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from making.pipeline_steps import FILES, with_program


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "examples/pipelines"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_component_has_the_shape_of_one(folder: Path) -> None:
    component = load(folder / "kubeflow/component.yaml")
    assert set(component) == {"name", "description", "inputs", "outputs", "implementation"}
    container = component["implementation"]["container"]
    assert set(container) == {"image", "command", "args"}
    known = {
        "inputValue": {it["name"] for it in component["inputs"]},
        "outputPath": {it["name"] for it in component["outputs"]},
    }
    used: dict[str, set[str]] = {"inputValue": set(), "outputPath": set()}
    for word in (*container["command"], *container["args"]):
        if isinstance(word, dict):
            [(kind, name)] = word.items()
            used[kind].add(name)
    assert used == known
    types = {"String", "Integer", "Float", "Boolean", "JsonObject", "JsonArray"}
    assert {it["type"] for it in (*component["inputs"], *component["outputs"])} <= types


def test_the_workflow_template_has_the_shape_of_one(folder: Path) -> None:
    template = load(folder / "argo/workflow-template.yaml")
    assert template["apiVersion"] == "argoproj.io/v1alpha1"
    assert template["kind"] == "WorkflowTemplate"
    [tune] = template["spec"]["templates"]
    assert set(tune) == {"name", "inputs", "outputs", "retryStrategy", "script"}
    assert set(tune["script"]) == {"image", "command", "env", "source"}
    # Values go into variables: in the script they would be a way to run anything.
    assert "{{" not in tune["script"]["source"]
    given = {it["name"] for it in tune["inputs"]["parameters"]}
    said = [str(it.get("value", "")) for it in tune["script"]["env"]]
    for name in given:
        assert any(f"{{{{inputs.parameters.{name}}}}}" in text for text in said), name


def test_the_workflow_uses_the_template_as_it_is(folder: Path) -> None:
    template = load(folder / "argo/workflow-template.yaml")
    [tune] = template["spec"]["templates"]
    workflow = load(folder / "argo/workflow.yaml")
    main, _ = workflow["spec"]["templates"]
    [step] = main["steps"][0]
    assert step["templateRef"] == {"name": template["metadata"]["name"], "template": tune["name"]}
    needed = {it["name"] for it in tune["inputs"]["parameters"] if "default" not in it}
    assert needed == {it["name"] for it in step["arguments"]["parameters"]}
    [used] = main["steps"][1][0]["arguments"]["parameters"]
    outputs = {it["name"] for it in tune["outputs"]["parameters"]}
    assert used["value"].strip("{}").rpartition(".")[2] in outputs


def test_every_file_carries_the_program_as_it_is(folder: Path) -> None:
    program = (folder / "tune.py").read_text()
    component, template = (load(path) for path in FILES)
    assert component["implementation"]["container"]["command"][2] == program
    assert template["spec"]["templates"][0]["script"]["source"] == program


def test_a_file_without_a_place_for_the_program_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_program("source: |\n  pass\n", "print()\n")
