"""The double of a Kubernetes API server, one for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.double.server import Double, running_double


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    """Running, with the namespaces default and kube-system."""
    with running_double(tmp_path / "double") as running:
        yield running
