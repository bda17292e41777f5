"""A container engine, and the images of `make images`; without them the tests here are skipped."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
Docker = Callable[..., str]
ImageOf = Callable[[str], str]


def answer(
    command: Sequence[str], *, stdin: str = "", within_s: float = 60.0, check: bool = True
) -> str:
    """Its standard output; a failure shows all that it said."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=within_s, check=False
    )
    if check:
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def docker() -> Docker:
    """Runs `docker ARGUMENTS`, as DOCKER_HOST says where."""
    program = shutil.which("docker")
    if program is None:
        pytest.skip("there is no docker on PATH")
    try:
        told = subprocess.run(
            [program, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the container engine does not answer")
    if told.returncode != 0:
        pytest.skip(f"no container engine answers: {told.stderr.strip()[:200]}")

    def run(*arguments: str, **how: Any) -> str:
        return answer([program, *arguments], **how)

    return run


@pytest.fixture(scope="session")
def version() -> str:
    """Of the distribution, which images are tagged with."""
    text = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    return str(tomllib.loads(text)["project"]["version"])


@pytest.fixture(scope="session")
def image_of(docker: Docker, version: str) -> ImageOf:
    """The name of an image that is there; tests never make one."""

    def find(name: str) -> str:
        image = f"trialbus/{name}:{version}"
        if not docker("image", "ls", "--quiet", image).strip():
            pytest.skip(f"there is no image {image}: run make images first")
        return image

    return find


@pytest.fixture(scope="session")
def config_of(docker: Docker, image_of: ImageOf) -> Callable[[str], dict[str, Any]]:
    """What an image says of itself."""

    def find(name: str) -> dict[str, Any]:
        [told] = json.loads(docker("image", "inspect", image_of(name)))
        config: dict[str, Any] = told["Config"]
        return config

    return find
