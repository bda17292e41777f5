"""One small run of a load test, from the stack's start to the figures. Needs the environment with
Locust, which `make load` makes."""

import os

import pytest
from loadtests.load.running import BENCH_PYTHON, Options, run
from loadtests.load.scenario import Scenario

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        not os.access(BENCH_PYTHON.with_name("locust"), os.X_OK),
        reason="no environment with Locust: make .venv/.stamp-bench",
    ),
]

_SCENARIO = {
    "name": "small",
    "title": "Small",
    "about": "Some of everybody.",
    "order": 1,
    "seconds": 3,
    "drain": 60,
    "experiments": [
        {
            "name": "echo",
            "trials": 6,
            "parallel": 2,
            "command": ["/bin/echo", "loss=${trialParameters.x}"],
        },
        {"name": "asked", "trials": 1000, "parallel": 4, "by": "workers"},
        {
            "name": "made",
            "count": 0,
            "trials": 1,
            "parallel": 1,
            "command": ["/bin/echo", "loss=${trialParameters.x}"],
        },
    ],
    "people": [
        {"kind": "reader", "count": 2, "of": ["echo"], "pause": [0.1, 0.2]},
        {"kind": "follower", "count": 1, "of": ["asked"]},
        {"kind": "subscriber", "count": 1, "of": ["asked"]},
        {"kind": "worker-http", "count": 1, "of": ["asked"], "work": [0.05, 0.1]},
        {"kind": "worker-nats", "count": 1, "of": ["asked"], "work": [0.05, 0.1]},
        {"kind": "pipeline-http", "count": 2, "of": ["made"], "every": 1},
    ],
    "limits": [{"figure": "broken promises", "at_most": 0}],
}


async def test_people_of_every_medium_are_measured_and_all_promises_are_kept() -> None:
    found = await run(Scenario.model_validate(_SCENARIO), Options())
    assert found.broken == () and found.problems == {}
    names = (
        "progress",
        "event streamed",
        "event over NATS",
        "tell and ask",
        "tell and ask over NATS",
        "posted event to answer",
    )
    assert all(0 < found.figures[f"{name}, p50"] < 10 for name in names)
    assert found.figures["lag at the end"] == 0
    assert found.figures["highest memory (PSS)"] > 100
    assert found.experiments >= 3
