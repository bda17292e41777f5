"""The double of a Kubernetes API server, one for each test; what needs a real cluster is skipped
where none is named."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.double.server import Double, running_double

NO_CLUSTER = "needs a cluster: TRIALBUS_TEST_KUBECONFIG names none (make test-cluster)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("TRIALBUS_TEST_KUBECONFIG"):
        return
    for item in items:
        if item.get_closest_marker("cluster") is not None:
            item.add_marker(pytest.mark.skip(reason=NO_CLUSTER))


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    """Running, with the namespaces default and kube-system."""
    with running_double(tmp_path / "double") as running:
        yield running
