"""The Python client on a real stack, and its pages as written."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trialbus
from trialbus.testkit import waits
from trialbus.testkit.real_stack import RealStack, experiment_object

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
REPORTING = """\
import sys, trialbus
for step in range(1, 4):
    trialbus.report_metrics(step, loss=1 / step)
(trialbus.checkpoint_dir() / "model.txt").write_text("learnt")
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    stack = RealStack(tmp_path_factory.mktemp("client"))
    try:
        stack.up()
        (stack.folder / ".trialbus").symlink_to(stack.data)
        yield stack
    finally:
        stack.down()


@pytest.fixture
def client(stack: RealStack) -> Iterator[trialbus.Client]:
    with trialbus.Client(data_dir=stack.data) as client:
        yield client


def block(page: str, containing: str) -> str:
    found = BLOCK.findall((REPOSITORY / page).read_text())
    [wanted] = [text for text in found if containing in text]
    return str(wanted)


def start(program: str, folder: Path) -> "subprocess.Popen[str]":
    """In a folder where the stack that runs is found, or none is."""
    file = folder / f"program_{len(list(folder.iterdir()))}.py"
    file.write_text(program)
    environ = {key: it for key, it in os.environ.items() if not key.startswith("TRIALBUS_")}
    return subprocess.Popen(
        [sys.executable, str(file)],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(program: str, folder: Path) -> str:
    process = start(program, folder)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, out + err
    assert err == "", err
    return out


def for_workers(name: str, trials: int, parallel: int = 1) -> dict[str, Any]:
    found = experiment_object(name, ["unused"], trials=trials, parallel=parallel)
    del found["spec"]["trialTemplate"]
    found["metadata"] = {"name": name, "annotations": {"trialbus.io/trials-by": "workers"}}
    return found


def test_a_function_is_tuned_with_no_stack_beforehand_and_none_afterwards(tmp_path: Path) -> None:
    printed = run(block("docs/how-to/tune-a-function.md", "sign"), tmp_path)
    found = re.fullmatch(r"(\{.*\}) (\S+)\n", printed)
    assert found is not None, printed
    parameters = json.loads(found[1].replace("'", '"'))
    assert set(parameters) == {"x", "sign"}
    # Of 30 trials by tpe; the minimum is -1, at x = -2 and sign = -1.
    assert float(found[2]) < 1
    assert not (tmp_path / ".trialbus").exists()


def test_the_lines_of_the_readme_find_something(stack: RealStack) -> None:
    printed = run(block("README.md", "trialbus.tune"), stack.folder)
    assert re.fullmatch(r"\{'lr': \S+, 'layers': [1-4]\} 0\.\S+\n", printed), printed


def test_a_stopping_rule_ends_trials_of_a_function(stack: RealStack) -> None:
    printed = run(block("docs/how-to/tune-a-function.md", "medianstop"), stack.folder)
    stopped, best = printed.split()
    assert 0 < int(stopped) < 20
    assert 0 < float(best) < 0.5


def test_the_loop_of_the_page_on_workers_finds_the_best(stack: RealStack) -> None:
    page = (REPOSITORY / "docs/how-to/ask-and-tell.md").read_text()
    [create] = re.findall(r"^```json\n(.*?)^```", page, re.M | re.S)
    (stack.folder / "create.json").write_text(create)
    printed = run(block("docs/how-to/ask-and-tell.md", "import trialbus"), stack.folder)
    assert abs(json.loads(printed)["x"] - 2) < 2.5


def test_several_processes_tune_one_function(stack: RealStack) -> None:
    program = (
        "import os, pathlib, time, trialbus\n"
        "def f(x):\n"
        "    pathlib.Path(f'tuner-{os.getpid()}').touch()\n"
        "    while len(list(pathlib.Path().glob('tuner-*'))) < 2:\n"
        "        time.sleep(0.01)  # one alone would be done before the other has begun\n"
        "    return {'loss': x * x, 'process': os.getpid()}\n"
        "if __name__ == '__main__':\n"
        "    found = trialbus.tune(f, {'x': trialbus.uniform(-1, 1)}, trials=20, parallel=2,\n"
        "                          algorithm='random', metrics=['process'])\n"
        "    print(len(found.trials), len({it.metrics['process'] for it in found.trials}),\n"
        "          found.value == min(it.value for it in found.trials))\n"
    )
    assert run(program, stack.folder) == "20 2 True\n"


def test_a_function_that_always_fails_says_why(stack: RealStack) -> None:
    space = {"x": trialbus.uniform(0, 1)}
    with pytest.raises(trialbus.TuneFailed, match="ZeroDivisionError: float division by zero"):
        trialbus.tune(lambda x: x / 0, space, trials=10, data_dir=stack.data)


def test_a_killed_workers_trial_is_given_again(stack: RealStack, client: trialbus.Client) -> None:
    client.create(for_workers("mortal", trials=1))
    process = start(
        "import threading, trialbus\n"
        "with trialbus.Client().ask('mortal', lease=4) as trial:\n"
        "    print(trial.name, flush=True)\n"
        "    threading.Event().wait(9)\n"
        "    print('held on', flush=True)\n"
        "    threading.Event().wait()\n",
        stack.folder,
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    # Longer than its lease, which is renewed.
    assert process.stdout.readline() == "held on\n"
    # A trial that lives longer than a second gets its document, though its worker says nothing.
    waits.until_sync(
        lambda: [it.state for it in client.trials("mortal")] == ["Running"], "listed as running"
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with client.ask("mortal", timeout=60) as trial:
        assert (trial.name, trial.attempt) == (name, 2)
        trial.tell(loss=0.25)
    assert client.wait("mortal", timeout=60).phase == "Succeeded"
    best = client.best("mortal")
    assert best is not None
    assert (best.trial, best.value) == (name, 0.25)
    assert isinstance(best.parameters["x"], float)


def test_workers_over_nats_need_no_gateway(stack: RealStack, client: trialbus.Client) -> None:
    with trialbus.Client(stack.status.nats) as bus:
        assert bus.create(for_workers("by-nats", trials=6, parallel=3)).created
        for trial in bus.work_on("by-nats", ahead=3):
            with trial:
                trial.report(1, loss=1.0)
                assert not trial.should_stop()
                trial.tell(loss=trial.parameters["x"])
        with pytest.raises(trialbus.TrialbusError, match="ask a gateway"):
            bus.get("by-nats")
        with pytest.raises(trialbus.NotThere, match="nowhere"):
            bus.suspend("nowhere")
        with pytest.raises(trialbus.Refused, match=r"spec\.parallelTrialCount"):
            bus.apply(for_workers("wrong", trials=1, parallel=-1))
        with pytest.raises(trialbus.ExperimentOver):
            bus.ask("by-nats")
    assert client.wait("by-nats", timeout=60).trials["succeeded"] == 6


async def test_an_async_worker_over_nats(stack: RealStack) -> None:
    async with trialbus.AsyncClient(stack.status.nats) as bus:
        await bus.create(for_workers("by-async", trials=2))
        async for trial in bus.work_on("by-async"):
            async with trial:
                await trial.tell(loss=0.5)
    async with trialbus.AsyncClient(stack.status.http) as client:
        assert (await client.wait("by-async", timeout=60)).trials["succeeded"] == 2
        kinds: list[str] = []

        async def last_is_told() -> bool:
            kinds[:] = [it.type async for it in client.events("by-async")]
            return "experiment.succeeded" in kinds

        # Events follow what is stored.
        await waits.until(last_is_told, "its last event")
        assert kinds[0] == "experiment.created"


@pytest.mark.parametrize(
    ("name", "collector"),
    [
        ("by-stdout", None),
        (
            "by-file",
            {
                "collector": {"kind": "File"},
                "source": {
                    "fileSystemPath": {"kind": "File", "path": "/m/a.log", "format": "JSON"}
                },
            },
        ),
        ("by-push", {"collector": {"kind": "Push"}}),
        (
            "by-own-filter",
            {
                "collector": {"kind": "StdOut"},
                "source": {"filter": {"metricsFormat": ["([a-z]+): ([0-9.]+)"]}},
            },
        ),
    ],
)
def test_a_trial_reports_without_configuration_whatever_collects(
    name: str,
    collector: dict[str, Any] | None,
    stack: RealStack,
    client: trialbus.Client,
) -> None:
    (stack.folder / "reporting.py").write_text(REPORTING)
    experiment = experiment_object(name, ["python", "reporting.py"])
    experiment["metadata"] = {"name": name}
    template = experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    template["containers"][0]["env"] = [{"name": "X", "value": "${trialParameters.x}"}]
    if collector is not None:
        experiment["spec"]["metricsCollectorSpec"] = collector
    client.create(experiment, working_dir=stack.folder)
    ended = client.wait(name, timeout=90)
    [trial] = client.trials(name)
    assert (ended.phase, trial.state) == ("Succeeded", "Succeeded"), trial.message
    [series] = client.metrics(trial.name)
    assert series.values == pytest.approx((1, 1 / 2, 1 / 3))
    assert trial.metrics["loss"].min == pytest.approx(1 / 3)
    kept = list(stack.data.glob("checkpoints/*/0/model.txt"))
    assert kept != []
    assert "".join(client.log(trial.name)).count("loss=") == (3 if name == "by-stdout" else 0)


def test_events_come_in_order_and_end(client: trialbus.Client) -> None:
    client.create(for_workers("told", trials=2, parallel=2))
    for trial in client.work_on("told"):
        with trial:
            trial.tell(0.5)
    assert client.wait("told", timeout=60).ended
    kinds: list[str] = []

    def last_is_told() -> bool:
        kinds[:] = [event.type for event in client.events("told")]
        return "experiment.succeeded" in kinds

    # Events follow what is stored.
    waits.until_sync(last_is_told, "its last event")
    assert kinds[0] == "experiment.created"
    assert kinds.count("trial.succeeded") == 2
    followed = []
    for event in client.events("told", follow=True):
        followed.append(event.id)
        if event.type == "experiment.succeeded":
            client.delete("told")
    assert event.type == "experiment.deleted"
    assert len(set(followed)) == len(followed) > len(kinds)
    with pytest.raises(trialbus.NotThere):
        list(client.events("told", follow=True))
