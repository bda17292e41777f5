"""The images of `make images`, one by one: who they run as, what is in them, and what is not."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trialbus.testkit.waits import until_sync

REPOSITORY = Path(__file__).parents[2]
SERVICES = [
    "gateway",
    "experiment",
    "suggestion",
    "trial-launcher",
    "metrics-collector",
    "early-stopping",
]
PYTHON = [*SERVICES, "cli", "trainer"]
ALL = [*PYTHON, "wrapper", "nats", "mongod"]
USER = "65532:65532"
# Of Debian 12.
MACHINE = {
    "python_version": "3.11",
    "python_full_version": "3.11.2",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
}
HARDENED = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
    "--network=none",
    "--tmpfs=/tmp",
]
# What a process finds about itself: who it is, where it may write, which tools there are.
LOOK = """
import importlib.metadata, json, os, shutil, subprocess
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")],
    "writable": sorted(p for p, _, _ in os.walk("/", followlinks=False)
        if os.access(p, os.W_OK) and not p.startswith(("/proc", "/dev", "/sys"))),
    "tools": [t for t in ("pip", "pip3", "gcc", "cc", "make", "apt", "curl") if shutil.which(t)],
    "distributions": sorted({d.metadata["Name"] for d in importlib.metadata.distributions()}),
    "debian": subprocess.run(["dpkg-query", "-W", "-f", "${Package}\\n"],
        capture_output=True, text=True).stdout.split(),
    "sbom": json.load(open(f"/usr/share/sbom/trialbus-{os.environ['NAME']}.cdx.json")),
    "stale": [p for p, _, fs in os.walk("/opt") for f in fs
        if f.endswith(".py") and "__pycache__" not in p
        and not os.path.exists(f"{p}/__pycache__/{f[:-3]}.cpython-311.pyc")][:3],
}))
"""
Docker = Callable[..., str]
ImageOf = Callable[[str], str]
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def seen_in(docker: Docker, image_of: ImageOf) -> Callable[[str], Seen]:
    """What a process sees in a hardened container of an image; looked at once."""
    found: dict[str, Seen] = {}

    def look(name: str) -> Seen:
        if name not in found:
            more = ["--env", f"NAME={name}", "--entrypoint", "python", image_of(name)]
            found[name] = json.loads(docker("run", "--rm", *HARDENED, *more, "-c", LOOK))
        return found[name]

    return look


def locked(name: str) -> set[str]:
    """The distributions that an image's lock file names for its machine."""
    text = (REPOSITORY / f"requirements/images/{name}.lock").read_text("utf-8")
    lines = [line.rstrip(" \\") for line in text.splitlines() if line[:1].isalnum()]
    wanted = map(Requirement, lines)
    return {
        canonicalize_name(it.name)
        for it in wanted
        if it.marker is None or it.marker.evaluate(MACHINE)
    }


@pytest.mark.parametrize("name", ALL)
def test_an_image_says_what_it_is_and_runs_as_nobody_of_importance(
    name: str, config_of: Callable[[str], dict[str, Any]], version: str
) -> None:
    config = config_of(name)
    assert config["User"] == USER
    labels = {
        key.removeprefix("org.opencontainers.image."): it for key, it in config["Labels"].items()
    }
    assert labels["title"] == f"trialbus {name}"
    assert (labels["version"], labels["licenses"]) == (version, "Apache-2.0")
    assert labels["revision"]


@pytest.mark.parametrize("name", PYTHON)
def test_a_process_in_a_read_only_image_can_write_to_tmp_and_its_data_only(
    name: str, seen_in: Callable[[str], Seen]
) -> None:
    seen = seen_in(name)
    assert (seen["uid"], seen["capabilities"]) == (65532, ["0" * 16])
    assert seen["writable"] == (["/data", "/tmp"] if name in SERVICES else ["/tmp"])


@pytest.mark.parametrize("name", PYTHON)
def test_an_image_has_its_own_dependencies_and_no_tools(
    name: str, seen_in: Callable[[str], Seen]
) -> None:
    seen = seen_in(name)
    own = {canonicalize_name(it) for it in seen["distributions"]}
    assert own == locked(name) | {"trialbus"}
    assert seen["tools"] == []
    assert seen["stale"] == []


@pytest.mark.parametrize("name", PYTHON)
def test_the_bill_of_materials_names_all_that_is_installed(
    name: str, seen_in: Callable[[str], Seen]
) -> None:
    seen = seen_in(name)
    parts: dict[str, set[str]] = {"pypi": set(), "deb": set()}
    for component in seen["sbom"]["components"]:
        parts[component["purl"].partition(":")[2].partition("/")[0]].add(component["name"])
    assert parts["pypi"] == {canonicalize_name(it) for it in seen["distributions"]}
    assert parts["deb"] == set(seen["debian"])
    assert len(parts["deb"]) > 50


def test_only_a_service_that_needs_it_has_a_heavy_library(
    seen_in: Callable[[str], Seen],
) -> None:
    with_sklearn = [name for name in PYTHON if "scikit-learn" in seen_in(name)["distributions"]]
    with_grpc = [name for name in SERVICES if "grpcio" in seen_in(name)["distributions"]]
    with_typer = [name for name in PYTHON if "typer" in seen_in(name)["distributions"]]
    assert with_sklearn == ["suggestion"]
    assert with_grpc == ["gateway", "suggestion", "metrics-collector", "early-stopping"]
    assert with_typer == ["cli"]


@pytest.fixture
def started(docker: Docker, image_of: ImageOf) -> Iterator[Callable[..., str]]:
    """Starts a hardened container in the background; it is removed at the end."""
    names: list[str] = []

    def start(image: str, *flags: str) -> str:
        names.append(f"trialbus-test-{uuid.uuid4().hex[:10]}")
        docker("run", "--detach", "--name", names[-1], *HARDENED, *flags, image_of(image))
        return names[-1]

    yield start
    for name in names:
        docker("rm", "--force", "--volumes", name)


def state(docker: Docker, container: str) -> tuple[str, int]:
    text = docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container)
    status, code = text.split()
    return status, int(code)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_waits_for_its_servers_and_leaves_when_it_is_told_to(
    name: str, docker: Docker, started: Callable[..., str]
) -> None:
    asks_nobody = ["--env", "TRIALBUS_HOST=127.0.0.1"] if name == "gateway" else []
    container = started(name, *asks_nobody)
    look = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8081/healthz').status)"

    def lives() -> bool:
        told = docker("exec", container, "python", "-c", look, check=False)
        return told.strip() == "200"

    until_sync(lives, f"{name} answers on its health port", within_s=60)
    docker("stop", "--time", "20", container)
    assert state(docker, container) == ("exited", 0), docker("logs", container)


def test_a_gateway_that_would_let_anybody_in_does_not_start(
    docker: Docker, started: Callable[..., str]
) -> None:
    container = started("gateway")
    until_sync(lambda: state(docker, container)[0] == "exited", "it ends", within_s=30)
    assert state(docker, container) == ("exited", 1)


def test_the_servers_and_the_wrapper_run_from_a_read_only_root(
    docker: Docker, image_of: ImageOf
) -> None:
    for name, flag, word in [
        ("nats", "--version", "nats-server: v2."),
        ("mongod", "--version", "db version v6."),
    ]:
        assert word in docker("run", "--rm", *HARDENED, image_of(name), flag)
    # It lays itself into the folder that a trial's own container then has.
    volume = f"trialbus-test-{uuid.uuid4().hex[:10]}"
    flags = [*HARDENED, "--rm", "--user", "0", "--volume", f"{volume}:/trialbus"]
    try:
        docker("run", *flags, image_of("wrapper"), "install", "/trialbus")
        more = ["--entrypoint", "stat", image_of("mongod"), "-c", "%A", "/trialbus/wrap"]
        assert docker("run", *flags, *more).startswith("-rwxr-xr-x")
    finally:
        docker("volume", "rm", "--force", volume)


def test_the_trainer_trains_without_a_network(docker: Docker, image_of: ImageOf) -> None:
    printed = docker("run", "--rm", *HARDENED, image_of("trainer"), "--epochs=2", "--lr=0.02")
    assert [line.split()[0] for line in printed.splitlines()] == ["epoch=1", "epoch=2"]
    assert "Validation-accuracy=0.9" in printed
