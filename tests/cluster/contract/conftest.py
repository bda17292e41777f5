"""The target of each test of the contract."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.cluster.contract.definitions import define_config_maps, serving_samples
from tests.cluster.contract.targets import (
    CLUSTER_DEADLINE_S,
    DOUBLE_DEADLINE_S,
    KUBECONFIG,
    Target,
    cluster_client,
    ready,
    target_of,
)
from tests.cluster.definitions.server import WHERE_BUILT, running_definitions
from tests.cluster.double.server import running_double

TARGETS = ["double", "cluster"] if KUBECONFIG else ["double"]
# Of a module that asks for custom resources alone: Kubernetes' own server of them, too, where it is
# built.
WITH_DEFINITIONS = pytest.mark.parametrize(
    "target", [*TARGETS, WHERE_BUILT], indirect=True, scope="session"
)


@pytest.fixture(scope="session", params=TARGETS)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """One server and one namespace for all tests: each makes objects of its own names.
    `definitions`: a server of custom resources alone, where a module asks for it."""
    if request.param == "cluster":
        with (
            cluster_client(Path(KUBECONFIG)) as http,
            ready(http, CLUSTER_DEADLINE_S) as found,
        ):
            yield found
        return
    if request.param == "definitions":
        folder = tmp_path_factory.mktemp("definitions")
        with running_definitions(folder) as running, running.client() as http:
            alone = target_of(http, DOUBLE_DEADLINE_S)
            define_config_maps(alone)
            yield alone
        return
    folder = tmp_path_factory.mktemp("double")
    with (
        running_double(folder, job_backoff_s=0.1) as double,
        httpx.Client(base_url=double.url, timeout=30.0, trust_env=False) as http,
        ready(http, DOUBLE_DEADLINE_S, double) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def served(target: Target) -> Iterator[Target]:
    """The target with `samples` served."""
    with serving_samples(target) as found:
        yield found
