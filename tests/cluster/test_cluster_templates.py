"""Trial templates in a cluster's ConfigMaps."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.double.server import Double
from tests.cluster.resource_worlds import Kept, kept_world

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import EXPERIMENT
from trialbus.kernel.errors import Refused
from trialbus.testkit.gateway_world import (
    CATALOGUE,
    katib,
)
from trialbus_gateway.adapters.custom_resources import ClusterTemplates
from trialbus_gateway.app.commanding import Commanding

Object = dict[str, Any]


@pytest.fixture
async def kept(tmp_path: Path, double: Double) -> AsyncIterator[Kept]:
    async with kept_world(tmp_path, double) as made:
        yield made


async def test_templates_are_read_from_the_clusters_config_maps(kept: Kept) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "main",
                            "image": "any",
                            "command": ["train", "--lr=${trialParameters.rate}"],
                        }
                    ],
                }
            }
        },
    }
    kept.double.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "templates", "namespace": "lab"},
            "data": {"job.yaml": yaml.safe_dump(job)},
        }
    )
    world = kept.world
    commanding = Commanding(
        world.parts, CATALOGUE, deadline_s=2.0, fetch_template=ClusterTemplates(kept.api).fetch
    )
    obj = with_template(katib(), "templates", "job.yaml")
    accepted = await commanding.apply("lab", "tune", obj)
    state = EXPERIMENT.decode(
        (await world.store.client("tests").get_many(EXPERIMENTS.name, [accepted.uid]))[accepted.uid]
    )
    assert state.spec.template is not None
    assert state.spec.template.trial_spec == job
    # It is part of the experiment from now on.
    kept.double.delete("configmaps", "lab", "templates")
    assert (await commanding.apply("lab", "tune", obj)).uid == accepted.uid
    for entry, words in (("job.yaml", "no ConfigMap lab/gone"),):
        with pytest.raises(Refused, match=words):
            await commanding.apply("lab", "x", with_template(katib("x"), "gone", entry))


def with_template(obj: Object, name: str, entry: str) -> Object:
    template = {
        "primaryContainerName": "main",
        "trialParameters": [{"name": "rate", "reference": "--lr"}],
        "configMap": {
            "configMapName": name,
            "configMapNamespace": "lab",
            "templatePath": entry,
        },
    }
    return {**obj, "spec": {**obj["spec"], "trialTemplate": template}}
