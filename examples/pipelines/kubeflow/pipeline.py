"""A pipeline with the component: tune, then use the best parameters. Needs kfp 2."""

from pathlib import Path
from typing import Any

from kfp import compiler, components, dsl

tune = components.load_component_from_file(str(Path(__file__).with_name("component.yaml")))


@dsl.component(base_image="python:3.11-slim")
def use(parameters: dict[str, Any]) -> None:
    print(parameters)


@dsl.pipeline(name="tune-and-use")
def pipeline(experiment: dict[str, Any]) -> None:
    tuned = tune(experiment=experiment, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    use(parameters=tuned.outputs["parameters"])


if __name__ == "__main__":
    compiler.Compiler().compile(pipeline, "pipeline.yaml")
