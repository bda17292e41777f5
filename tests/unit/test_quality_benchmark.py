"""The harness of `make bench-quality`, without the libraries that it compares with."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loadtests.quality import report, slices, tuning
from loadtests.quality.entrants import Ours, Parameters, ours, source_hash
from loadtests.quality.play import Played, Stalled, play
from loadtests.quality.results import Job, Line, Results
from loadtests.quality.running import run_missing
from loadtests.quality.scores import Field, Scores, duel, ranks
from loadtests.quality.tasks import Assignments, Task

from trialbus.kernel.space import Parameter, SearchSpace

LINE = (Parameter(name="x", type="double", min="0", max="1"),)


def loss(assignments: Assignments) -> float:
    return abs(float(assignments["x"]) - 0.25)


def task(name: str = "line") -> Task:
    return Task(
        name=name, group="BBOB 5-D", parameters=LINE, loss_of=lambda _: loss, has_known_best=True
    )


def job(seed: int = 0, entrant: str = "random", name: str = "line") -> Job:
    return Job(task=name, entrant=entrant, in_flight=1, seed=seed, evaluations=10)


def line(value: float, seed: int = 0, entrant: str = "random", name: str = "line") -> Line:
    played = Played(curve=((1, value + 1), (4, value)), seconds=0.5)
    return Line(job=job(seed, entrant, name), version="1", played=played)


class Recorder:
    """Proposes 0, 0.01, ... and writes down what happens."""

    def __init__(self) -> None:
        self.asked = 0
        self.told: list[int] = []
        self.running: list[int] = []

    def ask(self) -> Assignments | None:
        self.asked += 1
        self.running.append(self.asked - len(self.told))
        return {"x": str((self.asked - 1) / 100)}

    def tell(self, index: int, loss: float) -> None:
        assert loss == pytest.approx(abs(index / 100 - 0.25))
        self.told.append(index)


class TestPlaying:
    def test_so_many_run_at_a_time_and_end_in_another_order(self) -> None:
        recorder = Recorder()
        played = play(recorder, loss, seed=1, evaluations=30, in_flight=8)
        assert sorted(recorder.told) == list(range(30))
        assert recorder.told != sorted(recorder.told)
        assert max(recorder.running) == 8
        assert played.curve[-1][1] == pytest.approx(0)
        assert [b for _, b in played.curve] == sorted((b for _, b in played.curve), reverse=True)

    def test_one_at_a_time_each_is_told_before_the_next_is_asked_for(self) -> None:
        recorder = Recorder()
        play(recorder, loss, seed=1, evaluations=5, in_flight=1)
        assert recorder.told == [0, 1, 2, 3, 4]
        assert recorder.running == [1, 1, 1, 1, 1]

    def test_who_waits_is_asked_again_when_something_has_ended(self) -> None:
        class Patient(Recorder):
            def ask(self) -> Assignments | None:
                return super().ask() if len(self.told) * 2 >= self.asked - 2 else None

        recorder = Patient()
        play(recorder, loss, seed=1, evaluations=20, in_flight=8)
        assert len(recorder.told) == 20

    def test_who_waits_for_nothing_is_an_error(self) -> None:
        class Silent(Recorder):
            def ask(self) -> Assignments | None:
                return None

        with pytest.raises(Stalled):
            play(Silent(), loss, seed=1, evaluations=5, in_flight=8)

    def test_an_algorithm_of_ours_plays(self) -> None:
        played = play(Ours("tpe", LINE, 3), loss, seed=3, evaluations=40, in_flight=8)
        again = play(Ours("tpe", LINE, 3), loss, seed=3, evaluations=40, in_flight=8)
        assert played.curve == again.curve
        assert played.curve[-1][1] < 0.02


class TestResults:
    def test_lines_survive_and_the_newest_of_a_job_counts(self, tmp_path: Path) -> None:
        results = Results(tmp_path)
        results.add(line(0.5))
        results.add(line(0.25, seed=1))
        results.add(Line(job=job(), version="2", played=Played(curve=((1, 0.125),), seconds=1)))
        read = Results(tmp_path)
        assert {it.job.seed: it.played.curve[-1][1] for it in read} == {0: 0.125, 1: 0.25}
        assert read.has(job(), "2")
        assert not read.has(job(), "1")
        assert len((tmp_path / "random.jsonl").read_text().splitlines()) == 2

    def test_a_run_goes_on_where_it_was_broken_off(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chosen = slices.Slice(
            name="s", entrants=("random",), wants=lambda it: "svr" in it.name, seeds=1
        )
        jobs = list(chosen.jobs())
        assert len(jobs) == 2
        results = Results(tmp_path)
        assert run_missing(jobs, results, workers=1, seconds=0) == 2
        for it in jobs:
            version = slices.entrant_named("random").version()
            results.add(Line(job=it, version=version, played=line(0.5).played))
        assert run_missing(jobs, results, workers=1, seconds=0) == 0


class TestVersions:
    def test_a_version_follows_the_code_and_not_its_words(self, tmp_path: Path) -> None:
        version = ours("tpe").version()
        assert version == ours("tpe").version() != ours("multivariate-tpe").version()
        module = "trialbus_suggestion.core.tpe"
        assert source_hash(module, {"gamma": 0.1}) != source_hash(module, {"gamma": 0.2})


class TestScores:
    def scores(self) -> Scores:
        lines = [
            line(value, seed, entrant)
            for entrant, values in {"random": (2.0, 4.0), "tpe": (1.0, 3.0)}.items()
            for seed, value in enumerate(values)
        ]
        return Scores(lines, [task()])

    def test_regret_is_in_units_of_random_search_s_median(self) -> None:
        field = Field(in_flight=1, evaluations=10, seeds=2)
        found = self.scores().regrets("tpe", "line", field)
        assert found is not None
        assert found.tolist() == pytest.approx([1 / 3, 1])

    def test_missing_seeds_are_no_score(self) -> None:
        field = Field(in_flight=1, evaluations=10, seeds=3)
        assert self.scores().regrets("tpe", "line", field) is None
        assert self.scores().complete(["line"], field, ["random", "tpe"]) == []

    def test_ranks_and_duels(self) -> None:
        rng = np.random.default_rng(1)
        worse = 1 + rng.random((4, 10))
        better = worse - 0.5
        assert ranks({"a": worse, "b": better}) == {"a": 2.0, "b": 1.0}
        found = duel(better, worse, 0.98)
        assert found.difference.mean == pytest.approx(-0.5)
        assert found.won == 1
        assert (found.better, found.worse) == (4, 0)
        assert duel(worse, better, 0.98).difference.low > 0
        same = duel(worse, worse, 0.98)
        assert (same.won, same.better, same.worse) == (0.5, 0, 0)


def searched(parameters: Parameters) -> Iterator[dict[str, str]]:
    space = SearchSpace(parameters)
    for u in (0.0, 0.5, 1.0):
        yield space.assignments(space.from_unit([u] * len(parameters)))


@pytest.mark.parametrize("it", tuning.tasks(), ids=lambda it: it.name)
def test_each_tuning_task_has_a_loss_everywhere(it: Task) -> None:
    losses = [it.loss_of(0)(assignments) for assignments in searched(it.parameters)]
    assert all(0 < found <= tuning.WORST_LOSS for found in losses)
    assert len(set(losses)) == 3


def test_every_task_has_a_space_that_random_search_takes() -> None:
    tasks = slices.all_tasks()
    assert len({it.name for it in tasks}) == len(tasks) == 12 * 2 + 15 + 4
    assert set(slices.SLOW_TASKS) <= {it.name for it in tasks}
    assert all(ours("random").takes(it.parameters) for it in tasks)


def test_the_report_says_which_bar_is_missed(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    names = [it.name for it in slices.all_tasks() if it.group == "BBOB 5-D"]
    values = {"random": 3.0, "tpe": 2.0, "optuna-tpe-univariate": 1.0}
    for entrant, value in values.items():
        for name in names:
            for seed in range(slices.SEEDS):
                found = line(value + seed / 10, seed, entrant, name)
                whole = Job(task=name, entrant=entrant, in_flight=1, seed=seed, evaluations=100)
                results.add(Line(job=whole, version="1", played=found.played))
    missed = report.write(results, tmp_path / "pages")
    assert len(missed) == 2
    assert "tpe is worse than optuna-tpe-univariate on BBOB 5-D" in missed[0]
    page = (tmp_path / "pages/quality.md").read_text()
    assert "| tpe | optuna-tpe-univariate | BBOB 5-D (12) | 1 | +0.2" in page
    assert (tmp_path / "pages/quality-bbob-5-d-1.svg").read_text().startswith("<svg")
