"""Trials that misbehave end with their reason, and harm nothing else on the stack."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from trialbus.cli.api import experiment_path
from trialbus.testkit.real_stack import NAMESPACE, RealStack, experiment_object
from trialbus.testkit.run_probes import is_alive, marked_processes
from trialbus.testkit.waits import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

KILL_GRACE_S = 0.5
LONG_LINE_BYTES = 100_000_000
# What the launcher may need more for any trial: some blocks of its output.
MAX_GROWTH_BYTES = 32 * 1024 * 1024

# The first of two that run together cannot be ended by SIGTERM; the second reaches the goal.
STUBBORN = """
if mkdir "$1" 2>/dev/null; then
    trap '' TERM; echo $$ >"$1/pid.new"; echo holding out; mv "$1/pid.new" "$1/pid"
    while :; do sleep 0.1; done
fi
while [ ! -e "$1/pid" ]; do sleep 0.01; done
echo loss=0
"""
# The first three are good; each later one is worse than they, and would go on for ever.
WORSE = """
for good in 1 2 3; do
    if mkdir "$1.$good" 2>/dev/null; then echo loss=0.1; echo loss=0.1; exit 0; fi
done
while :; do echo loss=9; sleep 0.05; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program of sh (or a command), how its trial must end, and words of the explanation."""

    name: str
    ends: str
    reason: str
    words: tuple[str, ...]
    log_tail: str
    program: str = ""
    command: tuple[str, ...] = ()


CASES = [
    Case(
        name="missing",
        command=("no-such-program", "{x}"),
        ends="Failed",
        reason="TrialFailed",
        words=("exit code 127", "command not found: 'no-such-program'"),
        log_tail="",
    ),
    Case(
        name="failing",
        program="echo began; echo out of ideas >&2; exit 3",
        ends="Failed",
        reason="TrialFailed",
        words=("exit code 3",),
        log_tail="began\nout of ideas\n",
    ),
    Case(
        name="crashing",
        program="echo loss=1; kill -SEGV $$",
        ends="Failed",
        reason="TrialFailed",
        words=("signal 11",),
        log_tail="loss=1\n",
    ),
    Case(
        name="silent",
        program="echo nothing was measured",
        ends="MetricsUnavailable",
        reason="MetricsUnavailable",
        words=("it reported no value of 'loss'",),
        log_tail="nothing was measured\n",
    ),
    Case(
        name="closing",
        program="echo before; exec 1>&- 2>&-; echo loss=1; exit 0",
        ends="MetricsUnavailable",
        reason="MetricsUnavailable",
        words=("it reported no value of 'loss'",),
        log_tail="before\n",
    ),
    Case(
        name="undefined",
        program="echo loss=nan",
        ends="Succeeded",
        reason="TrialSucceeded",
        words=("loss: latest nan, min nan, max nan",),
        log_tail="loss=nan\n",
    ),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    stack = RealStack(tmp_path_factory.mktemp("stack"), kill_grace_s=str(KILL_GRACE_S))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(autouse=True)
async def neighbour(stack: RealStack, request: pytest.FixtureRequest) -> Any:
    """Another experiment that runs beside each of these; no service may end because of one."""
    name = f"neighbour-{sum(map(ord, request.node.name))}"
    before = pids(stack)
    stack.apply(
        experiment_object(name, ["/bin/echo", "loss={x}"], trials=20, parallel=2),
    )
    yield
    assert [it["state"] for it in await stack.ended(name)] == ["Succeeded"] * 20
    assert pids(stack) == before


def pids(stack: RealStack) -> dict[str, int | None]:
    status = stack.status
    return {name: each.pid for name, each in (status.services | status.servers).items()}


def sh(program: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", program, "{x}", *arguments]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_bad_trial_ends_with_its_reason(stack: RealStack, case: Case) -> None:
    command = list(case.command) or sh(case.program)
    stack.apply(experiment_object(case.name, command))
    [story] = await stack.ended(case.name)
    assert (story["state"], story["reason"]) == (case.ends, case.reason)
    told = "\n".join([story["message"], *(step["message"] for step in story["chain"])])
    assert [word for word in case.words if word not in told] == []
    assert story["logTail"] == case.log_tail
    trial = story["subject"].rpartition("/")[2]
    text = (await stack.cli("explain", trial)).out
    assert f"{case.ends} ({case.reason})" in text
    assert all(line in text for line in case.log_tail.splitlines())


@pytest.mark.parametrize("then", ["", "; echo; echo loss=0.25"], ids=["nothing", "a metric"])
async def test_a_line_of_100_megabytes_costs_no_memory(stack: RealStack, then: str) -> None:
    name = "long-line" if not then else "long-line-and-metric"
    watched = [psutil.Process(pid) for pid in pids(stack).values() if pid is not None]
    before = [process.memory_info().rss for process in watched]
    highest = list(before)
    print_line = f"head -c {LONG_LINE_BYTES} /dev/zero | tr '\\0' x"
    stack.apply(experiment_object(name, sh(print_line + then)))

    ending = asyncio.create_task(stack.ended(name))
    while not ending.done():
        for number, process in enumerate(watched):
            highest[number] = max(highest[number], process.memory_info().rss)
        await asyncio.wait([ending], timeout=0.01)
    [story] = await ending
    assert story["state"] == ("Succeeded" if then else "MetricsUnavailable")
    assert 0 < len(story["logTail"]) <= 4096
    growth = max(high - low for high, low in zip(highest, before, strict=True))
    assert growth < MAX_GROWTH_BYTES


async def test_a_trial_that_ignores_sigterm_is_killed_at_the_goal(stack: RealStack) -> None:
    folder = stack.folder / "stubborn"
    command = sh(STUBBORN, str(folder))
    stack.apply(experiment_object("stubborn", command, trials=2, parallel=2, goal=0.5))
    stories = await stack.ended("stubborn")
    [killed] = [it for it in stories if it["state"] == "Killed"]
    assert killed["reason"] == "TrialKilled.GoalReached"
    assert (killed["stopReason"], killed["logTail"]) == ("GoalReached", "holding out\n")
    assert killed["signal"] == 9
    assert not is_alive(int((folder / "pid").read_text()))
    assert sorted(it["state"] for it in stories) == ["Killed", "Succeeded"]


async def test_children_that_stay_behind_are_ended_with_their_trial(stack: RealStack) -> None:
    folder = stack.folder / "left"
    folder.mkdir()
    program = """
        setsid sh -c 'trap "" TERM HUP; echo $$ >"$0/away"; while :; do sleep 0.1; done' "$1" &
        sh -c 'trap "" TERM HUP; echo $$ >"$0/beside"; while :; do sleep 0.1; done' "$1" &
        while [ ! -s "$1/away" ] || [ ! -s "$1/beside" ]; do sleep 0.01; done
        echo loss=1
    """
    stack.apply(experiment_object("leaving", sh(program, str(folder))))
    [story] = await stack.ended("leaving")
    assert story["state"] == "Succeeded"
    left = [int((folder / name).read_text()) for name in ("away", "beside")]
    await until(lambda: not any(is_alive(pid) for pid in left), "its children are gone")
    await until(
        lambda: not marked_processes(f"KATIB_TRIAL_NAME={story['subject'].rpartition('/')[2]}"),
        "nothing of it is left",
    )


async def test_a_trial_that_is_stopped_early_says_why(stack: RealStack) -> None:
    settings = [("min_trials_required", "3"), ("start_step", "2")]
    stopping = {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": name, "value": value} for name, value in settings],
    }
    command = sh(WORSE, str(stack.folder / "good"))
    stack.apply(experiment_object("worse", command, trials=4, stopping=stopping))
    stories = await stack.ended("worse")
    assert [it["state"] for it in stories] == ["Succeeded"] * 3 + ["EarlyStopped"]
    assert stories[3]["reason"] == "TrialEarlyStopped"
    assert stories[3]["stopReason"] == "EarlyStopped"
    [judged] = [step for step in stories[3]["chain"] if step["event"] == "judged"]
    assert "best objective 9 by step 2 is worse than 0.1" in judged["message"]
    assert stories[3]["logTail"].startswith("loss=9\n")


async def test_an_undefined_objective_is_never_the_best(stack: RealStack) -> None:
    folder = stack.folder / "undefined-first"
    program = 'if mkdir "$1" 2>/dev/null; then echo loss=nan; else echo loss=0.5; fi'
    stack.apply(experiment_object("nan-first", sh(program, str(folder)), trials=2))
    stories = await stack.ended("nan-first")
    assert [it["state"] for it in stories] == ["Succeeded"] * 2
    found = stack.api().get(experiment_path(NAMESPACE, "nan-first"))
    [metric] = found["status"]["currentOptimalTrial"]["observation"]["metrics"]
    assert metric["latest"] == "0.5"
