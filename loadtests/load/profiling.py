"""Where the services' processor time goes, by py-spy, while a scenario runs."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtests.load.scenario import Scenario

FOLDER = Path(__file__).parents[1] / "results" / "profiles"
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "profiles.md"
PY_SPY = Path(sys.prefix) / "bench" / "bin" / "py-spy"
# Each look stops the process for a moment: more often would change what is seen.
LOOKS_A_SECOND = 50
# Warming up is left out.
FIRST_S = 3.0
MAX_LOOKED_S = 60
# py-spy reads symbols before it begins and writes its file at the end.
END_WITHIN_S = 60.0
TOP, TOP_ON_PAGE = 40, 12
# What starts a service and its loop is on every stack.
_OUTERMOST = re.compile(
    r"\((<frozen runpy>|trialbus/local/(fork_server|hosting)\.py"
    r"|asyncio/runners\.py|threading\.py)\)$"
)
_PACKAGES = re.compile(r"^.*/site-packages/")
_LIBRARY = re.compile(r"^.*/lib/python3\.\d+/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Of one service. samples: looks that met a thread with the
    interpreter's lock. own, total: function and its
    looks, as the innermost and anywhere on the stack, the most first."""

    samples: int
    own: Sequence[tuple[str, int]]
    total: Sequence[tuple[str, int]]


@asynccontextmanager
async def while_looked_into(
    scenario: Scenario, pids: Mapping[str, int], target: Path | None
) -> AsyncIterator[None]:
    """Profiles of these services, by name, are in the folder afterwards; nothing without one."""
    if target is None:
        yield
        return
    with TemporaryDirectory(prefix="trialbus-profiles-") as folder:
        over = asyncio.Event()
        looking = asyncio.create_task(_look(over, pids, Path(folder)))
        try:
            yield
            over.set()
            profiles = await asyncio.wait_for(looking, END_WITHIN_S)
        finally:
            looking.cancel()
    write(scenario.name, profiles, target)


async def _look(over: asyncio.Event, pids: Mapping[str, int], folder: Path) -> dict[str, Profile]:
    """Until the load is over: how long that takes is not known before."""
    await asyncio.sleep(FIRST_S)
    recorders = [
        await asyncio.create_subprocess_exec(
            str(PY_SPY), "record", "--pid", str(pid), "--format", "raw", "--gil",
            "--rate", str(LOOKS_A_SECOND), "--duration", str(MAX_LOOKED_S),
            "--output", str(folder / name),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for name, pid in pids.items()
    ]  # fmt: skip
    ends = [asyncio.create_task(recorder.communicate()) for recorder in recorders]
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), MAX_LOOKED_S)
    finally:
        for recorder in recorders:
            if recorder.returncode is None:
                # It then writes what it has.
                recorder.send_signal(signal.SIGINT)
    for name, recorder, end in zip(pids, recorders, ends, strict=True):
        _, said = await end
        if recorder.returncode != 0 and not (folder / name).exists():
            text = said.decode(errors="replace")[-300:]
            print(f"py-spy of {name}: {text}", file=sys.stderr)
    return {
        name: profile_of((folder / name).read_text().splitlines())
        for name in pids
        if (folder / name).exists()
    }


def profile_of(lines: Iterable[str]) -> Profile:
    """Of collapsed stacks: `outermost;...;innermost COUNT`, a frame `function (file:line)`."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    samples = 0
    for line in lines:
        stack, _, count_text = line.rpartition(" ")
        if not stack:
            continue
        count = int(count_text)
        frames = [_function(frame) for frame in stack.split(";")]
        frames = [frame for frame in frames if frame]
        if not frames:
            continue
        samples += count
        own[frames[-1]] += count
        # A function that calls itself is on the stack once.
        for frame in set(frames):
            if not _OUTERMOST.search(frame):
                total[frame] += count
    return Profile(samples=samples, own=own.most_common(TOP), total=total.most_common(TOP))


def _function(frame: str) -> str:
    """Without its line: the function is what is looked for. Empty for the process and threads."""
    if frame.startswith(("process ", "thread ")):
        return ""
    name, _, place = frame.rpartition(" (")
    file = place.removesuffix(")").rpartition(":")[0] or place.removesuffix(")")
    for known in (_PACKAGES, _LIBRARY):
        file = known.sub("", file)
    for part in ("shared/", "services/"):
        if f"/{part}" in file:
            file = file.rpartition(f"/{part}")[2]
    return f"{name or frame} ({file})"


def write(scenario: str, profiles: Mapping[str, Profile], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        name: {"samples": it.samples, "own": list(it.own), "total": list(it.total)}
        for name, it in profiles.items()
    }
    text = json.dumps({"looks": LOOKS_A_SECOND, "services": record}, indent=1)
    (folder / f"{scenario}.json").write_text(text + "\n")


def page(folder: Path = FOLDER) -> str:
    """Markdown, of all scenarios that were looked into."""
    lines = [
        "# Profiles",
        "",
        "Where the services' processor time goes: `make profile SCENARIO=echo` runs a scenario of",
        "the [load tests](load.md), looks into each service with py-spy meanwhile",
        f"({LOOKS_A_SECOND} times a second), and writes this page and",
        "`loadtests/results/profiles/`. Only looks that find a thread with the interpreter's lock",
        "count. *Own*: the function itself at work, or C that it called; *total*: it, or whatever",
        "it called. `Runner.run` on its own is uvloop: reading, writing and calling back.",
    ]
    for path in sorted(folder.glob("*.json")):
        for name, record in sorted(json.loads(path.read_text())["services"].items()):
            lines += ["", f"## {path.stem}: {name}", "", *_table(record)]
    return "\n".join(lines) + "\n"


def _table(record: Mapping[str, object]) -> list[str]:
    samples, own, total = record["samples"], record["own"], record["total"]
    assert isinstance(samples, int) and isinstance(own, list) and isinstance(total, list)
    if not samples:
        return ["It did nothing."]
    rows = [
        f"| {_cell(own, i, samples)} | {_cell(total, i, samples)} |"
        for i in range(min(TOP_ON_PAGE, max(len(own), len(total))))
    ]
    head = f"{samples} looks met it at work: {samples / LOOKS_A_SECOND:.1f} s."
    return [head, "", "| own | function | total | function |", "|---|---|---|---|", *rows]


def _cell(found: Sequence[tuple[str, int]], number: int, samples: int) -> str:
    if number >= len(found):
        return " | "
    name, count = found[number]
    return f"{count / samples:.1%} | `{name}`"
