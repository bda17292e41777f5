"""The page of the load tests, made of lines of runs."""

import json
from pathlib import Path

import pytest
from loadtests.load import __main__ as command
from loadtests.load.__main__ import main
from loadtests.load.report import PAGE, Judged, overview, page, section
from loadtests.load.results import LATENCY, Run, add, newest
from loadtests.load.running import Options
from loadtests.load.scenario import FOLDER, Limit, Scenario, chosen, read

LAPTOP = read(FOLDER / "laptop.yaml")


def a_run(scenario: Scenario = LAPTOP, /, **figures: float) -> Run:
    good = {
        limit.figure: limit.at_least * 2 if limit.at_least is not None else (limit.at_most or 0) / 2
        for limit in scenario.limits
    }
    return Run(
        scenario=scenario.name,
        digest=scenario.digest,
        at="2026-01-02T03:04:05+00:00",
        revision="abc",
        cores=2,
        load=0.1,
        scale=1.0,
        seconds=60.0,
        people=2,
        requests=1000,
        experiments=1,
        trials=5000,
        figures=good | figures,
        curves={LATENCY: {"progress": [(1.0, 0.123456789), (2.0, float("nan"))]}},
    )


def judge(limit: Limit, *values: float, runs: int | None = None) -> Judged:
    return Judged(limit=limit, unit="s", values=values, runs=runs or len(values))


def test_a_limit_is_judged_by_the_mean_and_its_head_room_told() -> None:
    slow = judge(Limit(figure="x", at_most=0.5), 0.2, 0.3)
    assert slow.kept is True and slow.head_room == pytest.approx(2.0)
    assert judge(Limit(figure="x", at_most=0.5), 0.4, 0.7).kept is False
    fast = judge(Limit(figure="x", at_least=100.0), 150.0, 170.0)
    assert fast.kept is True and fast.head_room == pytest.approx(1.6)


def test_a_limit_of_nothing_holds_for_each_run() -> None:
    assert judge(Limit(figure="x", at_most=0), 0, 0, 0).kept is True
    assert judge(Limit(figure="x", at_most=0), 0, 1, 0).kept is False
    assert judge(Limit(figure="x", at_most=0), 0).head_room is None


def test_what_some_run_did_not_measure_is_not_kept() -> None:
    assert judge(Limit(figure="x", at_most=1), 0.5, runs=2).kept is None


def test_a_run_comes_back_from_its_line_with_what_is_no_number_as_null(tmp_path: Path) -> None:
    add(a_run(), tmp_path)
    [line] = (tmp_path / "laptop.jsonl").read_text().splitlines()
    assert json.loads(line)["curves"][LATENCY]["progress"] == [[1.0, 0.12346], [2.0, None]]
    [found] = newest(LAPTOP, tmp_path)
    assert found.figures["trials a second"] == a_run().figures["trials a second"]


def test_the_page_takes_the_newest_whole_runs(tmp_path: Path) -> None:
    for number in range(LAPTOP.runs + 2):
        add(a_run(**{"trials a second": 200.0 + number}), tmp_path)
    add(a_run(LAPTOP.scaled(0.1, 20)), tmp_path)
    found = [run.figures["trials a second"] for run in newest(LAPTOP, tmp_path)]
    assert found == [202.0, 203.0, 204.0, 205.0, 206.0]
    assert newest(read(FOLDER / "storm.yaml"), tmp_path) == []


def test_a_section_shows_mean_spread_limit_head_room_and_what_is_missed() -> None:
    runs = [
        a_run(**{"trials a second": 110.0, "broken promises": 0.0}),
        a_run(**{"trials a second": 114.0}),
    ]
    text = section(LAPTOP, runs, "load-laptop.svg")
    assert "| trials a second | 1/s | 112 | 2.83 | 110 | 114 | at least 120 | 0.9 | NO |" in text
    assert "| broken promises | count | 0 | 0 | 0 | 0 | at most 0 |  | yes |" in text
    assert "2 runs of 5" in text and "![One tuner's laptop](load-laptop.svg)" in text


def test_the_overview_shows_what_is_kept_and_where_it_is_tightest() -> None:
    scenarios = [LAPTOP, read(FOLDER / "storm.yaml")]
    runs = [a_run(**{"trials a second": 132.0}), a_run(**{"trials a second": 132.0})]
    text = overview(scenarios, {"laptop": runs})
    count = len(LAPTOP.limits)
    row = f"| One tuner's laptop (`laptop`) | 2 | {count} of {count} | 1.1, trials a second |"
    assert row in text
    assert "| A metric storm (`storm`) | 0 | not measured |  |" in text


def test_a_scenario_without_runs_says_how_to_measure_it_and_what_its_limits_are() -> None:
    text = section(LAPTOP, [], None)
    assert "Not measured yet: `make load SCENARIO=laptop`." in text
    assert "| trials a second | at least 120 |" in text


def test_broken_promises_and_failed_calls_are_told() -> None:
    run = Run.read(a_run().text())
    told = Run(
        **{
            **{name: getattr(run, name) for name in Run.__slots__},
            "broken": ("echo-0: 3 trials of 4",),
            "problems": {"progress: HTTP 503: `x`\ny": 7},
        }
    )
    text = section(LAPTOP, [told], None)
    assert "- echo-0: 3 trials of 4" in text
    assert "- 7 × `progress: HTTP 503: 'x' y`" in text


def test_the_page_is_what_the_runs_that_are_there_make_it() -> None:
    scenarios = chosen([])
    assert PAGE.read_text() == page(scenarios, {it.name: newest(it) for it in scenarios})
    for scenario in scenarios:
        plot = PAGE.with_name(f"load-{scenario.name}.svg")
        assert plot.exists() == bool(newest(scenario)), plot.name


def test_a_scenario_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "there are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("trials_a_second", "words", "code"),
    [(200.0, [], 0), (20.0, [], 1), (20.0, ["--report-only"], 0)],
)
def test_a_missed_limit_is_an_exit_code_and_a_try_stays_off_the_page(
    trials_a_second: float,
    words: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fake_run(scenario: Scenario, options: Options) -> Run:
        return a_run(scenario.scaled(options.scale, None), **{"trials a second": trials_a_second})

    monkeypatch.setattr(command, "run", fake_run)
    monkeypatch.setattr(command, "draw", lambda *_: None)
    monkeypatch.setattr(command, "TRIES", tmp_path)
    before = PAGE.read_text()
    assert main(["laptop", "--scale", "0.1", *words]) == code
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["laptop.jsonl", "laptop.md"]
    assert PAGE.read_text() == before
