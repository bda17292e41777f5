"""`report_metrics` and its like in the environment of a trial that a launcher runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.kernel.metric_lines import DEFAULT_METRIC_FORMAT
from trialbus.kernel.reporting import ReportTo
from trialbus.kernel.spec import (
    CollectorKind,
    MetricsCollectorSpec,
    MetricsFormat,
    MetricsPath,
    PathKind,
)
from trialbus.testkit.fake_work import NAME, PATH, FakeWork, WorkGateway, serving_work
from trialbus_trial_launcher.app.starting import report_to


@pytest.fixture
def gateway() -> Iterator[WorkGateway]:
    with serving_work(FakeWork()) as gateway:
        yield gateway


def run(program: str, **variables: str) -> str:
    """What it prints, in a trial's environment."""
    environ = {
        **{key: text for key, text in os.environ.items() if not key.startswith("TRIALBUS_")},
        "TRIALBUS_TRIAL_NAME": f"{NAME}-0",
        "TRIALBUS_ATTEMPT": "2",
        "TRIALBUS_NAMESPACE": "default",
        "TRIALBUS_EXPERIMENT": NAME,
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import trialbus\n{program}"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_trial_whose_output_is_read_prints_past_whatever_stands_for_it() -> None:
    program = (
        "import contextlib, io\n"
        "print('before')\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    trialbus.report_metrics(3, loss=0.5, accuracy=float('nan'))\n"
    )
    assert run(program, TRIALBUS_REPORT_TO="stdout") == "before\nstep=3 loss=0.5 accuracy=nan\n"


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_trial_whose_file_is_read_adds_to_it(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "metrics.log"
    file.write_text("earlier\n")
    program = "trialbus.report_metrics(loss=0.5)\ntrialbus.report_metrics({'loss': float('inf')})"
    run(program, TRIALBUS_REPORT_TO=kind, TRIALBUS_METRICS_PATH=str(file))
    first, *lines = file.read_text().splitlines()
    assert first == "earlier"
    if kind == "text":
        assert lines == ["loss=0.5", "loss=inf"]
    else:
        found = [json.loads(line) for line in lines]
        assert [it["loss"] for it in found] == [0.5, "Infinity"]
        assert all(it["timestamp"] > 1_700_000_000 for it in found)


def test_every_other_trial_reports_over_http(gateway: WorkGateway) -> None:
    gateway.faults = [(503, {"message": "away"})]
    program = (
        "trialbus.report_metrics(1, loss=0.5)\n"
        "trialbus.report_metrics(loss=float('nan'))\n"
        "print(trialbus.should_stop())"
    )
    assert run(program, TRIALBUS_REPORT_TO="push", TRIALBUS_URL=gateway.url) == "False\n"
    first, second = gateway.work.reports
    assert (first["trial"], first["attempt"], first["step"]) == (f"{NAME}-0", 2, 1)
    assert first["metrics"] == {"loss": 0.5}
    assert second["metrics"] == {"loss": "NaN"}
    assert first["id"] != second["id"]
    assert gateway.asked.count(f"POST {PATH}/report") == 3


def test_a_name_that_no_line_can_hold_is_reported_over_http(gateway: WorkGateway) -> None:
    program = "trialbus.report_metrics({'f1/a b': 1.0})"
    assert run(program, TRIALBUS_REPORT_TO="stdout", TRIALBUS_URL=gateway.url) == ""
    assert gateway.work.reports[0]["metrics"] == {"f1/a b": 1.0}


def test_the_answer_to_a_report_says_when_to_stop(gateway: WorkGateway) -> None:
    gateway.work.stops[f"{NAME}-0"] = "EarlyStopped"
    program = "trialbus.report_metrics(1, loss=0.5)\nprint(trialbus.should_stop())"
    assert run(program, TRIALBUS_REPORT_TO="push", TRIALBUS_URL=gateway.url) == "True\n"


def test_who_asks_whether_to_stop_is_not_ended_by_the_signal() -> None:
    program = (
        "import os, signal\n"
        "print(trialbus.should_stop())\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(trialbus.should_stop())"
    )
    assert run(program) == "False\nTrue\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_folder_of_checkpoints_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a/b"
    printed = run("print(trialbus.checkpoint_dir())", TRIALBUS_CHECKPOINT=str(folder))
    assert printed == f"{folder}\n"
    assert folder.is_dir()
    refusing = (
        "try: trialbus.checkpoint_dir()\n"
        "except {} as error: print(error)"
    )  # fmt: skip
    told = run(refusing.format("ValueError"), TRIALBUS_CHECKPOINT="s3://bucket/1")
    assert told == "s3://bucket/1 is no folder\n"
    assert run(refusing.format("trialbus.NotInATrial")).startswith("only a trial has")


def path(form: MetricsFormat) -> dict[str, Any]:
    return {"path": MetricsPath(path="/a.log", kind=PathKind.FILE, format=form)}


@pytest.mark.parametrize(
    ("collector", "expected"),
    [
        (MetricsCollectorSpec(), ReportTo.STDOUT),
        (MetricsCollectorSpec(filters=(DEFAULT_METRIC_FORMAT,)), ReportTo.STDOUT),
        (MetricsCollectorSpec(filters=(r"(\w+):(\d+)",)), ReportTo.PUSH),
        (
            MetricsCollectorSpec(kind=CollectorKind.FILE, **path(MetricsFormat.TEXT)),
            ReportTo.TEXT,
        ),
        (
            MetricsCollectorSpec(kind=CollectorKind.FILE, **path(MetricsFormat.JSON)),
            ReportTo.JSON,
        ),
        (MetricsCollectorSpec(kind=CollectorKind.PUSH), ReportTo.PUSH),
        (MetricsCollectorSpec(kind=CollectorKind.PROMETHEUS_METRIC), ReportTo.PUSH),
        (MetricsCollectorSpec(kind=CollectorKind.TENSORFLOW_EVENT), ReportTo.PUSH),
    ],
)
def test_a_trial_is_told_where_its_collector_looks(
    collector: MetricsCollectorSpec, expected: ReportTo
) -> None:
    assert report_to(collector) is expected
