"""Commands against a gateway that says what a test wants: how they end."""

import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trialbus.cli import reading, watching
from trialbus.cli.progress import parse_progress
from trialbus.cli.running import Still
from trialbus.cli.waiting import seconds
from trialbus.kernel.catalogue import AlgorithmDescription, Catalogue
from trialbus.testkit.fake_gateway import (
    Answer,
    FakeGateway,
    command_code,
    serving_fake_gateway,
)
from trialbus.testkit.programs import TRIALBUS, program_environ
from trialbus.testkit.waits import until_sync

NAMED = "/v1/namespaces/default/experiments/tune"
EXPERIMENT = """
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: tune}
spec:
  maxTrialCount: 4
  objective: {type: minimize, objectiveMetricName: loss}
  algorithm: {algorithmName: random}
  parameters:
    - {name: x, parameterType: double, feasibleSpace: {min: "0", max: "1"}}
"""


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving_fake_gateway() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks follow one another at once; handlers of signals are put back."""
    monkeypatch.setattr(watching, "LOOK_S", 0.001)
    random = AlgorithmDescription(
        name="random",
        parameter_types=frozenset({"double"}),
        distributions=frozenset({"uniform"}),
    )
    catalogue = Catalogue(algorithms={"random": random}, stopping_rules={})
    monkeypatch.setattr(reading, "catalogue_of", lambda _settings: catalogue)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "tune.yaml"
    path.write_text(EXPERIMENT)
    return str(path)


def _progress(phase: str, **trials: int) -> Answer:
    best = {"trial": "tune-abcd1234", "value": 0.5, "parameters": {"x": "0.5"}}
    return 200, {
        "uid": "1",
        "namespace": "default",
        "name": "tune",
        "phase": phase,
        "parallel": 2,
        "max": 4,
        "goal": None,
        "objective": {"type": "minimize", "name": "loss"},
        "trials": {"created": sum(trials.values()), **trials},
        "best": best if trials.get("succeeded") else None,
    }


@pytest.mark.parametrize(("phase", "code"), [("Succeeded", 0), ("Failed", 1)])
def test_run_ends_as_the_experiment_does(
    gateway: FakeGateway, file: str, capsys: pytest.CaptureFixture[str], phase: str, code: int
) -> None:
    gateway.says(f"PUT {NAMED}", (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(
        f"GET {NAMED}/progress",
        _progress("Created"),
        _progress("Running", running=2),
        _progress(phase, succeeded=4),
    )
    assert command_code(gateway, "run", file) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tune: Running; 0/4 done; 2 running;")
    assert "Best trial: tune-abcd1234" in lines
    body = gateway.bodies[f"PUT {NAMED}"]
    assert body["workingDir"] == str(Path(file).parent)
    assert body["object"]["metadata"]["name"] == "tune"


def test_run_as_json_prints_the_experiment_and_nothing_else(
    gateway: FakeGateway, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says(f"PUT {NAMED}", (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(f"GET {NAMED}/progress", _progress("Succeeded", succeeded=4))
    away: Answer = (503, {"message": "the gateway starts again"})
    gateway.says(f"GET {NAMED}", away, (200, {"kind": "Experiment", "status": {}}))
    assert command_code(gateway, "run", file, "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"kind": "Experiment", "status": {}}
    assert "Best trial" in captured.err


def test_run_of_what_had_finished_shows_the_result_and_how_to_start_anew(
    gateway: FakeGateway, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says(f"PUT {NAMED}", (200, {"id": "1", "uid": "1", "created": False}))
    gateway.says(f"GET {NAMED}/progress", _progress("Failed", failed=4))
    assert command_code(gateway, "run", file) == 1
    again = shlex.join(["trialbus", "run", file, "--url", gateway.url, "--anew"])
    assert f"  {again}\n" in capsys.readouterr().out


def test_a_refusal_of_the_stack_is_shown_problem_by_problem(
    gateway: FakeGateway, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [
        {"field": "spec.parameters", "message": "cannot be changed"},
        {"field": "", "message": "it is being deleted"},
    ]
    gateway.says(f"PUT {NAMED}", (422, {"message": "refused", "problems": problems}))
    assert command_code(gateway, "run", file) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["spec.parameters: cannot be changed", "it is being deleted"]


def test_a_service_that_is_away_is_waited_for_with_the_samecommand_code(
    gateway: FakeGateway, file: str
) -> None:
    away: Answer = (503, {"message": "the experiment service is away"})
    ids = []
    gateway.on_ask = lambda what: ids.append(
        gateway.bodies[what]["id"] if what.startswith("PUT") else None
    )
    gateway.says(f"PUT {NAMED}", away, away, (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(f"GET {NAMED}/progress", away, _progress("Succeeded", succeeded=4))
    assert command_code(gateway, "run", file) == 0
    sent = [each for each in ids if each is not None]
    assert len(sent) == 3
    assert len(set(sent)) == 1


def test_an_address_where_nobody_answers_is_named(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gateway.url = f"http://127.0.0.1:{port}"
    assert command_code(gateway, "get", "experiments") == 1
    assert f"no stack answers at http://127.0.0.1:{port}" in capsys.readouterr().err


def test_an_interrupted_run_suspends_its_experiment_and_says_how_to_go_on(
    gateway: FakeGateway, file: str, tmp_path: Path
) -> None:
    gateway.says(f"PUT {NAMED}", (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(f"GET {NAMED}/progress", _progress("Running", running=2))

    def suspend(what: str) -> None:
        if what.startswith("POST"):
            still = _progress("Suspended", running=1)
            gateway.says(f"GET {NAMED}/progress", still, still, _progress("Suspended", pending=2))

    gateway.on_ask = suspend
    gateway.says(f"POST {NAMED}/suspend", (202, {}))
    process = subprocess.Popen(
        [*TRIALBUS, "run", file, "--url", gateway.url],
        env=program_environ(tmp_path / "environ"),
        stdout=subprocess.PIPE,
        text=True,
    )
    until_sync(lambda: f"GET {NAMED}/progress" in gateway.asked, "it watches", within_s=30)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"POST {NAMED}/suspend" in gateway.asked
    again = shlex.join([*TRIALBUS, "run", file, "--url", gateway.url])
    assert f"go on with: {again}" in out.splitlines()


def test_an_interrupted_run_waits_no_longer_once_all_its_trials_are_paused() -> None:
    def looks(progress: Answer, most: int) -> int:
        still, seen = Still(), parse_progress(progress[1])
        return next((look for look in range(1, most + 1) if still(seen)), 0)

    assert looks(_progress("Suspended", paused=2, succeeded=1), 1) == 1
    # A launcher may just be beginning to run it.
    assert looks(_progress("Suspended", paused=1, pending=1), 4) == 0
    assert looks(_progress("Suspended", running=1), 50) == 0


def test_a_second_interrupt_leaves_at_once(gateway: FakeGateway, file: str, tmp_path: Path) -> None:
    gateway.says(f"PUT {NAMED}", (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(f"GET {NAMED}/progress", _progress("Running", running=2))
    gateway.says(f"POST {NAMED}/suspend", (202, {}))
    process = subprocess.Popen(
        [*TRIALBUS, "run", file, "--url", gateway.url],
        env=program_environ(tmp_path / "environ"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until_sync(lambda: f"GET {NAMED}/progress" in gateway.asked, "it watches", within_s=30)
    os.kill(process.pid, signal.SIGINT)
    until_sync(lambda: f"POST {NAMED}/suspend" in gateway.asked, "it suspends")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith("left at once: a stack of its own stops by itself; trials that still run")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("7", 7), ("1.5s", 1.5)],
)
def test_durations_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1s", "5 m", "1d"])
def test_what_is_no_duration_is_refused(gateway: FakeGateway, text: str) -> None:
    assert command_code(gateway, "wait", "tune", f"--timeout={text}") == 2


def test_run_anew_deletes_what_there_is_before_it_applies(gateway: FakeGateway, file: str) -> None:
    gone: Answer = (404, {"message": "no such experiment"})
    gateway.says(f"DELETE {NAMED}", (202, {}))
    gateway.says(f"PUT {NAMED}", (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(
        f"GET {NAMED}/progress",
        _progress("Failed", failed=4),
        gone,
        _progress("Succeeded", succeeded=4),
    )
    assert command_code(gateway, "run", file, "--anew") == 0
    looks = [what.partition(" ")[0] for what in gateway.asked]
    assert looks == ["DELETE", "GET", "GET", "PUT", "GET", "GET"]


def test_run_anew_of_what_is_not_there_just_runs(gateway: FakeGateway, file: str) -> None:
    gateway.says(f"PUT {NAMED}", (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(f"GET {NAMED}/progress", _progress("Succeeded", succeeded=4))
    assert command_code(gateway, "run", file, "--anew") == 0


def test_a_failed_run_tells_of_the_newest_failed_trial_and_how_to_see_more(
    gateway: FakeGateway, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.says(f"PUT {NAMED}", (201, {"id": "1", "uid": "1", "created": True}))
    gateway.says(f"GET {NAMED}/progress", _progress("Failed", failed=4))
    chain = [{"event": "trial failed", "message": "tune-1: exit code 1"}]
    gateway.says(f"GET {NAMED}/explain", (200, {"chain": chain}))
    gateway.says("GET /v1/trials/tune-1/explain", (200, {"logTail": "no module\n"}))
    assert command_code(gateway, "run", file) == 1
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "Trial tune-1 failed: exit code 1",
        "Its output:",
        "  no module",
        "All of its output:",
        f"  trialbus logs tune-1 --url {gateway.url}",
    ]


def test_run_at_an_address_where_nobody_answers_fails_at_once(
    gateway: FakeGateway, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gateway.url = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    assert command_code(gateway, "run", file) == 1
    assert time.monotonic() - began < 10
    assert f"no stack answers at {gateway.url} " in capsys.readouterr().err
