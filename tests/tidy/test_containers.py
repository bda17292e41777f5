"""The files that make containers: nothing unpinned or from elsewhere, and both stacks the same."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = "deploy/docker"
BASES = {"trialbus/base:bookworm", "trialbus/servers:bookworm", "trialbus/toolchain:bookworm"}
NOBODY = "65532:65532"
# A stage whose content is only taken from: root may work there.
INTERNAL = {"base", "servers", "installed"}
FLAGS_WITHOUT_VALUE = {"--read-only", "--detach", "--init", "--rm", "--interactive"}


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, rest) with continued lines joined, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), " ".join(rest.split())


def dockerfile_problems(text: str) -> Iterator[str]:
    """What makes an image insecure, or different from one day to the next."""
    users: dict[str, str] = {}
    stage = ""
    for word, rest in instructions(text):
        if word == "FROM":
            source, _, stage = rest.partition(" AS ")
            if not stage:
                yield f"FROM {rest}: a stage without a name"
            if source not in {*BASES, *users, "scratch"}:
                yield f"FROM {source}: not one of our bases"
            users[stage] = users.get(source, NOBODY if source in BASES else "0")
        elif word == "USER":
            users[stage] = rest
        elif word == "ADD":
            yield f"ADD {rest}: COPY takes files of the builder's folder only"
        elif word == "RUN" and re.search(r"\b(curl|wget|apt|apt-get|git|sudo)\b|https?://", rest):
            yield f"RUN {rest}: fetches something"
        elif word in {"ARG", "ENV"} and re.search(r"(?i)token=|password|secret|index|proxy", rest):
            yield f"{word} {rest}: stays in the image's history"
        elif word in {"ENTRYPOINT", "CMD"} and not rest.startswith("["):
            yield f"{word} {rest}: a shell would be the first process"
    for name, user in users.items():
        if user != NOBODY and name not in INTERNAL:
            yield f"{name}: runs as {user}"


def test_the_dockerfile_makes_what_can_be_trusted(repository: Path) -> None:
    assert list(dockerfile_problems((repository / FOLDER / "Dockerfile").read_text())) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("FROM python:latest AS a\nUSER 65532:65532", "FROM python:latest: not one of our bases"),
        ("FROM scratch AS a", "a: runs as 0"),
        ("FROM trialbus/base:bookworm AS a\nUSER 0", "a: runs as 0"),
        ("FROM trialbus/base:bookworm", "FROM trialbus/base:bookworm: a stage without a name"),
        ("ADD https://example.com/x /x", "COPY takes files of the builder's folder only"),
        ("RUN apt-get update && \\\n  apt-get install x", "fetches something"),
        ("ARG PIP_INDEX_URL", "stays in the image's history"),
        ("ENV API_TOKEN=abc", "stays in the image's history"),
        ("ENTRYPOINT trialbus serve x", "a shell would be the first process"),
    ],
)
def test_an_image_that_cannot_be_trusted_is_found(line: str, problem: str) -> None:
    assert any(problem in found for found in dockerfile_problems(line))


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    """Of compose.yaml, with its variables as they are by default."""
    text = (repository / FOLDER / "compose.yaml").read_text()
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    document: dict[str, Any] = yaml.safe_load(filled)
    return document


def test_images_of_the_stack_are_those_of_this_version(
    compose: dict[str, Any], repository: Path
) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    version = project["version"]
    for name, service in compose["services"].items():
        image = "cli" if name == "first-run" else name
        assert service["image"] == f"trialbus/{image}:{version}"
    assert f"TRIALBUS_TAG:-{version}}}" in (repository / FOLDER / "stack").read_text()
    assert f"trialbus/cli:{version} " in (repository / "docs/how-to/run-with-docker.md").read_text()


def compose_problems(services: dict[str, Any], volumes: dict[str, Any]) -> Iterator[str]:
    """What a container of the stack may do that it need not."""
    for name, service in services.items():
        if not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
            yield f"{name}: has a writable root, or capabilities"
        if service.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name}: may gain privileges"
        if service.get("privileged") or service.get("network_mode") or service.get("pid"):
            yield f"{name}: reaches out of its container"
        for volume in service.get("volumes", []):
            if volume.partition(":")[0] not in volumes:
                yield f"{name}: takes {volume}, which is no volume of the stack"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: can be reached from other machines"


def test_containers_of_the_stack_may_do_nothing_but_their_work(compose: dict[str, Any]) -> None:
    assert list(compose_problems(compose["services"], compose["volumes"])) == []
    published = [name for name, it in compose["services"].items() if it.get("ports")]
    assert published == ["gateway"]
    reads_token = [n for n, it in compose["services"].items() if "token:" in str(it.get("volumes"))]
    assert reads_token == ["first-run", "cli"]


def test_a_container_that_may_do_more_is_found() -> None:
    service = {"ports": ["8080:8080"], "volumes": ["/var/run:/x"], "privileged": True}
    assert len(list(compose_problems({"a": service}, {}))) == 5


def described(service: dict[str, Any]) -> dict[str, Any]:
    """What both ways to start a container say of it."""
    return {
        "environment": service.get("environment", {}),
        "volumes": sorted(service.get("volumes", [])),
        "tmpfs": sorted(service["tmpfs"]),
        "ports": service.get("ports", []),
        "init": service.get("init", False),
        "restart": service.get("restart", "no"),
        "hardened": (
            service.get("read_only", False),
            service.get("cap_drop"),
            service.get("security_opt"),
        ),
        "entrypoint": service.get("entrypoint", []),
        "image": service["image"],
    }


def parsed(command: list[str]) -> tuple[str, dict[str, Any]]:
    """The network's name for a container of `docker run ...`, and what it says of it."""
    flags: dict[str, list[str]] = {}
    rest = command[2:]
    while rest[0].startswith("--"):
        flag = rest.pop(0)
        flags.setdefault(flag, []).append("true" if flag in FLAGS_WITHOUT_VALUE else rest.pop(0))
    [image] = rest
    prefix = "trialbus_"
    return flags.get("--network-alias", ["first-run"])[0], {
        "environment": dict(it.split("=", 1) for it in flags.get("--env", [])),
        "volumes": sorted(it.removeprefix(prefix) for it in flags.get("--volume", [])),
        "tmpfs": sorted(flags["--tmpfs"]),
        "ports": flags.get("--publish", []),
        "init": "--init" in flags,
        "restart": flags.get("--restart", ["no"])[0],
        "hardened": ("--read-only" in flags, flags["--cap-drop"], flags["--security-opt"]),
        "entrypoint": flags.get("--entrypoint", []),
        "image": image,
    }


def test_docker_alone_starts_what_compose_does(compose: dict[str, Any], repository: Path) -> None:
    printed = subprocess.run(
        [repository / FOLDER / "stack", "up"],
        env={"PATH": "/usr/bin:/bin", "DRY_RUN": "1", "ENGINE": "docker"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    commands = [shlex.split(line) for line in printed.splitlines()]
    by_docker = dict(parsed(it) for it in commands if it[1] == "run")
    by_compose = {name: described(it) for name, it in compose["services"].items() if name != "cli"}
    assert by_docker == by_compose
    assert len(by_docker) == 9


def test_what_is_built_has_an_image_file_of_each_kind(repository: Path) -> None:
    targets = {
        rest.rpartition(" AS ")[2]
        for word, rest in instructions((repository / FOLDER / "Dockerfile").read_text())
        if word == "FROM"
    }
    locks = {path.stem for path in (repository / "requirements/images").glob("*.lock")}
    assert locks < targets
    assert targets - locks == {*INTERNAL, "python", "service", "grpc-service", "wrapper"}
