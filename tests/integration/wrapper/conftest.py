"""The wrapper as it is built here, beside a gateway that notes what it is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trialbus.testkit import wrapped
from trialbus.testkit.pod_gateway import PodGateway
from trialbus.testkit.wrapped import Wrapped


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if wrapped.compiler() is None:
        pytest.skip("the wrapper is C: there is no compiler here, or no make")
    return wrapped.build(tmp_path_factory.mktemp("wrapper"))


@pytest.fixture
def gateway() -> Iterator[PodGateway]:
    with PodGateway().served() as made:
        yield made
        assert made.wrong == []


@pytest.fixture
def pod(program: Path, tmp_path: Path, gateway: PodGateway) -> Wrapped:
    return Wrapped(program, tmp_path, gateway.url)
