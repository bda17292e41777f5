"""What a run of the load tests makes of what it saw: quantiles, growth, promises, profiles."""

import math
import random
import statistics
from dataclasses import dataclass, field
from typing import Any

import pytest
from loadtests.load.estimates import histogram_quantile, later, slope, spread, thinned
from loadtests.load.measures import Seen, growth, measured
from loadtests.load.plan import read_told, read_windows, told_line, window_line
from loadtests.load.profiling import profile_of
from loadtests.load.promises import (
    Finding,
    budget_problems,
    late_to_early,
    most_at_once,
    told_problems,
)
from loadtests.load.recent import Recent
from loadtests.load.sampling import Sample, Scraped, Usage
from loadtests.load.scenario import FOLDER, read
from loadtests.load.windows import Cell, Window, merged

# Windows -----------------------------------------------------------------------------------------


def test_quantiles_of_merged_windows_are_exact_to_two_percent() -> None:
    draw = random.Random(7)
    values = [draw.lognormvariate(2, 1) for _ in range(4000)]
    first, second = Cell(), Cell()
    for value in values[:1000]:
        first.add(value)
    for value in values[1000:]:
        second.add(value)
    cell = merged([Window(1, {"a": first}), Window(2, {"a": second})])["a"]
    for share in (0.5, 0.95, 0.99):
        exact = sorted(values)[math.ceil(share * 4000) - 1] / 1000
        assert exact <= cell.quantile_s(share) <= exact * 1.02
    assert cell.mean_s() == pytest.approx(statistics.fmean(values) / 1000)


def test_windows_and_told_results_come_back_from_their_lines_and_a_cut_one_is_left_out(
    tmp_path: Any,
) -> None:
    cell = Cell()
    cell.add(12.5)
    cell.add(900.0, "HTTP 503")
    path = tmp_path / "windows.jsonl"
    text = window_line(5.0, {"progress": cell}) + told_line({"asked-0": 17})
    path.write_text(text + '{"at": 9.0, "cel')
    [window] = read_windows(path)
    assert (window.at, window.cells["progress"]) == (5.0, cell)
    assert window.cells["progress"].problems == {"HTTP 503": 1}
    assert read_told(path) == {"asked-0": 17}


def test_an_event_that_comes_again_is_no_new_one_and_memory_stays_bounded() -> None:
    recent = Recent(most=2)
    assert [recent.is_new(it) for it in ("a", "a", "b", "c", "b", "a")] == [
        True,
        False,
        True,
        True,
        False,
        True,
    ]


# Estimates ---------------------------------------------------------------------------------------


def test_a_slope_is_not_bent_by_a_fifth_of_outliers() -> None:
    points = [(float(x), 3.0 + 0.25 * x) for x in range(100)]
    bent = [(x, 1000.0) if x % 5 == 0 else (x, y) for x, y in points]
    assert slope(bent) == pytest.approx(0.25, rel=0.05)


def test_a_saw_tooth_does_not_grow() -> None:
    points = [(float(x), 100.0 + x % 10) for x in range(400)]
    assert abs(slope(points)) < 0.01


def test_the_later_share_leaves_warming_up_out() -> None:
    assert later([(float(x), 0.0) for x in range(9)], 0.75)[0] == (2.0, 0.0)
    assert later([], 0.75) == []


def test_thinning_keeps_the_ends() -> None:
    assert thinned(list(range(1000)), 5) == [0, 250, 500, 749, 999]
    assert thinned([1, 2], 5) == [1, 2]


def test_spread_of_runs_is_that_of_a_sample() -> None:
    found = spread([2.0, 4.0, 6.0])
    assert (found.mean, found.deviation, found.least, found.most) == (4.0, 2.0, 2.0, 6.0)
    assert spread([3.0]).deviation == 0.0


def test_a_quantile_of_a_histogram_is_even_within_its_bucket() -> None:
    buckets = {0.1: 10.0, 0.3: 30.0, math.inf: 40.0}
    assert histogram_quantile(buckets, 0.5) == pytest.approx(0.2)
    assert histogram_quantile(buckets, 0.99) == 0.3
    assert histogram_quantile({0.1: 0.0, math.inf: 0.0}, 0.5) is None


# What services say -------------------------------------------------------------------------------

_SCRAPED = """# TYPE trialbus_outbox_events gauge
trialbus_outbox_events 3.0
# TYPE trialbus_suggestion_seconds histogram
trialbus_suggestion_seconds_bucket{algorithm="random",le="0.01"} 1.0
trialbus_suggestion_seconds_bucket{algorithm="random",le="+Inf"} 2.0
trialbus_suggestion_seconds_bucket{algorithm="tpe",le="0.01"} 4.0
trialbus_suggestion_seconds_bucket{algorithm="tpe",le="+Inf"} 4.0
# TYPE trialbus_http_request_seconds histogram
trialbus_http_request_seconds_count{route="/v1/x",method="GET",code="200"} 9.0
trialbus_http_request_seconds_count{route="/v1/x",method="GET",code="503"} 2.0
process_cpu_seconds_total 3.5
"""


def test_what_services_say_is_added_up() -> None:
    scraped = Scraped()
    scraped.add(_SCRAPED)
    scraped.add("trialbus_outbox_events 4.0\ntrialbus_dead_letters_total 1.0\n")
    assert scraped.sums["trialbus_outbox_events"] == 7.0
    assert scraped.sums["trialbus_dead_letters_total"] == 1.0
    assert scraped.hops == {"asked to proposed": {0.01: 5.0, math.inf: 6.0}}
    assert scraped.errors == 2.0


def test_trials_that_waited_for_a_worker_do_not_count_as_launched_late() -> None:
    scraped = Scraped()
    buckets = "trialbus_trial_launch_seconds_bucket"
    scraped.add(
        f'{buckets}{{place="process",le="0.1"}} 3.0\n{buckets}{{place="worker",le="0.1"}} 5.0\n'
    )
    assert scraped.hops == {"opened to launched": {0.1: 3.0}}


def samples_of(own_mb: list[float], every: float = 10.0) -> list[Sample]:
    usage = [Usage(own_mb=mb, pss_mb=mb + 1, processor_s=i) for i, mb in enumerate(own_mb)]
    return [
        Sample(
            at=i * every,
            lag=float(i == 1),
            sums={"trialbus_outbox_events": 2.0 * i},
            usage={"gateway": it},
        )
        for i, it in enumerate(usage)
    ]


def test_growth_is_per_hour_and_after_the_warming_up() -> None:
    leaking = samples_of([10.0 * min(i, 24) + 0.1 * i + i * i % 7 for i in range(100)])
    assert growth(leaking, "gateway", until=1000) == pytest.approx(36, rel=0.05)
    assert growth(leaking, "mongod", until=1000) is None
    assert growth(leaking[:5], "gateway", until=1000) is None


def test_a_run_is_measured_by_hand() -> None:
    cell = Cell()
    for ms in (10.0, 20.0, 30.0, 40.0):
        cell.add(ms, "HTTP 503" if ms == 40.0 else None)
    scraped = Scraped()
    scraped.add(_SCRAPED)
    seen = Seen(
        scenario=read(FOLDER / "tuners.yaml"),
        began_at=1000.0,
        people_s=20.0,
        cells={"progress": cell},
        samples=samples_of([50.0, 60.0, 55.0]),
        last=scraped,
        finding=Finding(
            experiments=1,
            first_created_at=1000.0,
            ended_at=(1005.0, 1010.0, 1019.0, 1025.0),
            points=0,
            late_to_early=None,
            broken=("one: 3 trials of 4",),
        ),
        to_end_s=4.0,
        to_no_lag_s=None,
        load_s=5.0,
    )
    found = measured(seen)
    assert found["progress, mean"] == pytest.approx(0.025)
    assert found["progress, p99"] == pytest.approx(0.04, rel=0.02)
    assert found["requests a second"] == 0.2
    assert (found["failed requests"], found["answers 5xx"], found["broken promises"]) == (1, 2, 1)
    # Three of them while people called.
    assert found["trials a second"] == pytest.approx(0.15)
    assert (found["highest lag"], found["lag at the end"]) == (1.0, 0.0)
    assert found["highest outbox"] == 4.0
    assert found["highest memory (PSS)"] == 61.0
    assert found["processor, all services"] == pytest.approx(0.1)
    assert found["processor, the load itself"] == 0.25
    assert "seconds to no lag" not in found
    assert "growth of gateway" not in found


# Promises ----------------------------------------------------------------------------------------


@dataclass
class Kept:
    """An experiment of three trials, two at a time, as it should be."""

    experiment: dict[str, Any] = field(
        default_factory=lambda: {
            "phase": "Succeeded",
            "conditions": [{"reason": "ExperimentMaxTrialsReached"}],
            "spec": {"max_trial_count": 3, "parallel_trial_count": 2},
            "counts": {"succeeded": 3},
        }
    )
    trials: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {
                "index": index,
                "phase": "Succeeded",
                "value": 0.5,
                "created_at": created,
                "completed_at": completed,
            }
            for index, (created, completed) in enumerate([(0.0, 1.0), (0.0, 2.0), (1.0, 2.0)])
        ]
    )

    @property
    def problems(self) -> list[str]:
        return list(budget_problems(self.experiment, self.trials))


def test_an_exact_budget_is_no_problem() -> None:
    assert Kept().problems == []


def test_what_breaks_a_promise_is_found() -> None:
    missing = Kept()
    del missing.trials[2]
    missing.experiment["counts"]["succeeded"] = 2
    assert missing.problems == ["2 trials of 3"]
    crowded = Kept()
    crowded.trials[2]["created_at"] = 0.9
    assert crowded.problems == ["3 trials at once, 2 allowed"]
    silent = Kept()
    silent.trials[0]["value"] = None
    assert silent.problems == ["1 trials succeeded without their metric"]
    repeated = Kept()
    repeated.trials[2]["index"] = 1
    assert repeated.problems == ["indexes of trials have gaps or repeats"]
    failed = Kept()
    failed.trials[1]["phase"] = "Failed"
    assert "trials ended otherwise: {'Failed': 1}" in failed.problems
    running = Kept()
    running.experiment["phase"] = "Running"
    assert running.problems == ["has not ended: Running (ExperimentMaxTrialsReached)"]


def test_a_stopped_experiment_may_have_fewer_trials_and_some_taken_back() -> None:
    stopped = Kept()
    stopped.experiment["conditions"] = [{"reason": "ExperimentStopped"}]
    stopped.experiment["spec"]["max_trial_count"] = 1000
    stopped.trials[2] |= {"phase": "Killed", "value": None}
    stopped.experiment["counts"]["succeeded"] = 2
    assert stopped.problems == []


def test_an_accepted_result_that_is_not_there_is_found() -> None:
    assert told_problems(Kept().trials, 3) == []
    assert told_problems(Kept().trials, 4) == ["4 results were accepted, 3 are there"]


def test_an_end_makes_room_at_the_same_instant() -> None:
    spans = [(0.0, 1.0), (1.0, 2.0), (1.5, None)]
    assert most_at_once([{"created_at": a, "completed_at": b} for a, b in spans]) == 2


def test_trials_that_take_longer_and_longer_are_seen() -> None:
    at = 0.0
    trials = []
    for finished in range(1, 2001):
        at += 1.0 if finished <= 1900 else 2.0
        trials.append({"finished": finished, "completed_at": at})
    assert late_to_early(trials) == pytest.approx(2.0)
    assert late_to_early(trials[:500]) is None


# Profiles ----------------------------------------------------------------------------------------


def test_a_profile_tells_functions_by_own_and_total_time() -> None:
    lines = [
        "main (/x/services/experiment/trialbus_experiment/main.py:3);decide (/a/b.py:7) 3",
        "main (/x/services/experiment/trialbus_experiment/main.py:9) 1",
        "_run_code (<frozen runpy>:88);decide (/a/b.py:8) 1",
        'thread (0x1): "pool";walk (/v/lib/python3.11/ast.py:1);walk (/v/lib/python3.11/ast.py:2) '
        "2",
        "",
    ]
    found = profile_of(lines)
    main = "main (experiment/trialbus_experiment/main.py)"
    assert found.samples == 7
    assert dict(found.own) == {"decide (/a/b.py)": 4, main: 1, "walk (ast.py)": 2}
    assert dict(found.total) == {main: 4, "decide (/a/b.py)": 4, "walk (ast.py)": 2}
