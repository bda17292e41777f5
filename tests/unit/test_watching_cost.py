"""What the benchmark of watching makes of its runs."""

import pytest
from loadtests.watching import Pair, Run, interval, median_ratio, report


def run(service_s: float, mongod_s: float = 1.0, spans: int = 0) -> Run:
    return Run(seconds={"experiment": service_s, "mongod": mongod_s}, trials=100, spans=spans)


def test_the_ratio_is_of_the_processor_time_a_trial_of_all_processes() -> None:
    pair = Pair(watched=run(1.2), unwatched=run(1.0))
    assert pair.watched.ms_a_trial == pytest.approx(22.0)
    assert pair.ratio == pytest.approx(1.1)


def test_the_median_of_the_pairs_counts_not_their_mean() -> None:
    pairs = [Pair(watched=run(it), unwatched=run(1.0)) for it in (1.02, 1.04, 3.0)]
    assert median_ratio(pairs) == pytest.approx(1.02)


def test_the_interval_holds_the_median_and_narrows_with_more_pairs() -> None:
    few, many = [1.00, 1.02, 1.04], [1.00, 1.02, 1.04] * 20
    low, high = interval(few)
    assert (low, high) == (1.00, 1.04)
    low, high = interval(many)
    assert low <= 1.02 <= high
    assert high - low < 0.04
    assert interval([1.01]) == (1.01, 1.01)


def test_the_report_says_whether_the_limit_is_kept_and_where_time_goes() -> None:
    kept = report([Pair(watched=run(1.05, spans=388), unwatched=run(1.0))])
    assert "Median ratio 1.0250" in kept
    assert "limit 1.05: kept." in kept
    assert "388 spans" in kept
    assert "| experiment | 10.500 | 10.000 | +0.500 |" in kept
    assert "| mongod | 10.000 | 10.000 | +0.000 |" in kept
    assert "NOT KEPT" in report([Pair(watched=run(1.2), unwatched=run(1.0))])
