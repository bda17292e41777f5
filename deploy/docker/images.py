"""Builds the container images of trialbus with nothing but an engine, pip's and Debian's packages.

What each image needs is fetched here, by this machine's pip as it is set up, checked against the
hashes of its lock file, and laid into a folder of its own: the builder gets no network and no
secret. Called by `make images`.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BUILD = REPOSITORY / "build/images"
BILLS = REPOSITORY / "build/sbom"
PAGE = REPOSITORY / "docs/reference/images.md"
MARKS = ("<!-- sizes: begin -->", "<!-- sizes: end -->")

SERVICES = {
    "gateway": "HTTP, gRPC and the custom resources of trialbus",
    "experiment": "Life cycles of experiments and trials",
    "suggestion": "Algorithms",
    "trial-launcher": "Runs trials, as processes or on a cluster",
    "metrics-collector": "Takes in what trials report",
    "early-stopping": "Stops trials that lead nowhere",
}
IMAGES = {
    **SERVICES,
    "cli": "The command line, also for trialbus provision",
    "trainer": "The bundled trainer with its data",
    "wrapper": "Runs a trial's command and ships its metrics",
    "nats": "nats-server with JetStream",
    "mongod": "mongod, a replica set of one",
}
# With our own wheel in them.
OURS = {*SERVICES, "cli", "trainer"}
# Other than that of the rest.
BASES = {"wrapper": "scratch", "nats": "scratch", "mongod": "trialbus/servers:bookworm"}
# Whose trials may be the bundled trainer's.
WITH_DATA = {"trainer", "trial-launcher"}
DATA = "sklearn/datasets/data/digits.csv.gz"
# Debian 12: CPython 3.11, glibc 2.36.
PYTHON, GLIBC_MINORS = "3.11", range(5, 37)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="IMAGE", help="All, if none is named.")
    parser.add_argument("--engine", default="docker", help="A program with docker's commands.")
    parser.add_argument("--prefix", default="trialbus", help="Before the images' names.")
    parser.add_argument("--tag", default="", help="Instead of the version.")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(IMAGES))
    if unknown:
        parser.error(f"no such image: {', '.join(unknown)} (there are: {', '.join(IMAGES)})")
    names = given.names or list(IMAGES)
    wheel = own_wheel()
    version = wheel.name.split("-")[1]
    tag = given.tag or version
    for name in names:
        image = f"{given.prefix}/{name}:{tag}"
        print(f"{image} ...", flush=True)  # noqa: T201
        build(given.engine, name, image, folder_of(name, wheel), version)
        keep_bill(given.engine, name, image)
    if len(names) == len(IMAGES):
        write_sizes(given.engine, {name: f"{given.prefix}/{name}:{tag}" for name in IMAGES})


def own_wheel() -> Path:
    folder = BUILD / "own"
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)])
    [wheel] = folder.glob("*.whl")
    return wheel


def folder_of(name: str, wheel: Path) -> Path:
    """What the builder gets for one image; unchanged files keep its cache."""
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("data", "wheels/own", "wrapper"):
        (folder / part).mkdir(parents=True)
    for file in ("Dockerfile", "install", "sbom.py"):
        shutil.copy2(HERE / file, folder / file)
    lock = REPOSITORY / f"requirements/images/{name}.lock"
    if name == "wrapper":
        shutil.copytree(HERE / "wrapper", folder / "wrapper", dirs_exist_ok=True)
        (folder / "requirements.lock").touch()
        return folder
    shutil.copy2(lock, folder / "requirements.lock")
    for fetched in fetch(name):
        shutil.copy2(fetched, folder / "wheels" / fetched.name)
    if name in OURS:
        shutil.copy2(wheel, folder / "wheels/own" / wheel.name)
    for conf in {"nats": ["nats-server.conf"], "mongod": ["mongod.conf"]}.get(name, []):
        shutil.copy2(HERE / conf, folder / "data" / conf)
    if name == "cli":
        shutil.copy2(HERE / "first-run", folder / "data/first-run")
    if name in WITH_DATA:
        (folder / "data/digits.csv.gz").write_bytes(digits())
    return folder


def fetch(name: str) -> list[Path]:
    """The files that the lock of an image names, fetched before or now. pip checks their hashes."""
    lock = REPOSITORY / f"requirements/images/{name}.lock"
    folder, done = BUILD / "fetched" / name, BUILD / "fetched" / f"{name}.lock"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--disable-pip-version-check", "--require-hashes", "--dest", str(folder)),
                *("--implementation", "cp", "--python-version", PYTHON, *platforms()),
                *("--requirement", str(lock)),
            ]
        )
        shutil.copy2(lock, done)
    return sorted(folder.iterdir())


def platforms() -> Iterator[str]:
    """pip takes none for granted that is older than one that is named."""
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}" for minor in reversed(GLIBC_MINORS)]
    for tag in (*tags, "manylinux2014", "manylinux2010", "manylinux1", "linux"):
        yield from ("--platform", f"{tag}_{machine}")


def digits() -> bytes:
    """The trainer's data, out of the scikit-learn that the suggestion service is locked to."""
    [wheel] = [path for path in fetch("suggestion") if path.name.startswith("scikit_learn-")]
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(DATA)


def build(engine: str, name: str, image: str, folder: Path, version: str) -> None:
    labels = {
        "title": f"trialbus {name}",
        "description": IMAGES[name],
        "version": version,
        "revision": revision(),
        "licenses": "Apache-2.0",
        "base.name": BASES.get(name, "trialbus/base:bookworm"),
    }
    command = [engine, "build", "--quiet", "--network", "none", "--target", name, "--tag", image]
    for argument, value in {"NAME": name, "VERSION": version}.items():
        command += ["--build-arg", f"{argument}={value}"]
    for label, value in labels.items():
        command += ["--label", f"org.opencontainers.image.{label}={value}"]
    run([*command, str(folder)])


def revision() -> str:
    """The commit, if this is a repository of git."""
    answer = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def keep_bill(engine: str, name: str, image: str) -> None:
    """The image's bill of materials, beside those of the others."""
    BILLS.mkdir(parents=True, exist_ok=True)
    file = f"trialbus-{name}.cdx.json"
    container = run([engine, "create", image, "nothing"]).strip()
    try:
        run([engine, "cp", f"{container}:/usr/share/sbom/{file}", str(BILLS / file)])
    finally:
        run([engine, "rm", "--volumes", container])


def write_sizes(engine: str, images: dict[str, str]) -> None:
    """Into the page: all of an image, and what it has beside the base that it shares."""
    base = size_mb(engine, "trialbus/base:bookworm")
    rows = [
        "| image | what it is | MB | of its own, MB |",
        "| --- | --- | ---: | ---: |",
        f"| `trialbus/base:bookworm` | what Python images share | {base:.0f} | |",
    ]
    for name, image in images.items():
        size = size_mb(engine, image)
        own = size - base if name in OURS else size
        rows.append(f"| `trialbus/{name}` | {IMAGES[name]} | {shown(size)} | {shown(own)} |")
    before, rest = PAGE.read_text("utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    text = "\n".join([MARKS[0], *rows, MARKS[1]])
    PAGE.write_text(f"{before}{text}{after}", "utf-8")


def shown(size: float) -> str:
    """Small ones to a tenth; the rest would change with every build."""
    return f"{size:.0f}" if size >= 1 else f"{size:.1f}"


def size_mb(engine: str, image: str) -> float:
    """Uncompressed, in millions of bytes."""
    return int(run([engine, "image", "inspect", "--format", "{{.Size}}", image])) / 1e6


def run(command: Sequence[str]) -> str:
    """What it printed. Ends with its complaint if it fails."""
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
