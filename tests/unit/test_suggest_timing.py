"""The harness of `make bench-suggest`, without the peers, on a small scale."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from loadtests.suggest.__main__ import main
from loadtests.suggest.bars import SUBJECTS, Subject
from loadtests.suggest.memory import Footprint, footprint, grid_of_a_million
from loadtests.suggest.ours import Ours, Values, objective, random_points
from loadtests.suggest.page import page
from loadtests.suggest.peers import Parameters
from loadtests.suggest.timing import Row, race

from trialbus.kernel.space import Parameter

BY_NAME = {subject.name: subject for subject in SUBJECTS}


class Peer:
    """Writes down what it is told and asked."""

    made: list["Peer"] = []  # noqa: RUF012 (emptied by the test)

    def __init__(self, parameters: Parameters, seed: int) -> None:
        self.primed: list[Values] = []
        self.told = 0
        self.points = random_points(parameters, 50, seed)
        self.made.append(self)

    def prime(self, points: Sequence[Values]) -> None:
        self.primed += points

    def tell(self, point: Values) -> None:
        self.told += 1

    def ask(self) -> Values:
        return self.points[self.told]


def small(name: str) -> Subject:
    return replace(BY_NAME[name], bars_ms={10: None, 30: 1e4}, peers=(("peer", 10),))


@pytest.mark.parametrize("name", ["random", "cmaes"])
def test_ours_and_the_peers_have_the_same_past_at_each_size(name: str) -> None:
    Peer.made.clear()
    rows = race(small(name), {"peer": Peer}, sizes=99, points=3, peer_s=60, seed=1)
    assert [(row.size, len(row.ours)) for row in rows] == [(10, 3), (30, 3)]
    assert [{it: len(times) for it, times in row.peers.items()} for row in rows] == [
        {"peer": 3},
        {},
    ]
    [peer] = Peer.made
    grown = 10 if name == "cmaes" else 0
    assert (len(peer.primed), peer.told) == (10 - grown, 3 + grown)


def test_a_slow_peer_has_one_point() -> None:
    [row, _] = race(small("random"), {"peer": Peer}, sizes=99, points=3, peer_s=0, seed=1)
    assert len(row.peers["peer"]) == 1
    assert len(row.ours) == 3


def test_a_bar_is_held_against_the_median() -> None:
    row = Row(
        subject="a",
        size=5,
        bar_ms=2.0,
        ours=(0.001, 0.002, 0.9),
        waits=(9.0,),
        peers={"b": (0.008,)},
    )
    assert row.kept
    assert not replace(row, ours=(0.001, 0.003, 0.004)).kept
    assert replace(row, bar_ms=None, ours=(9.0,)).kept


def test_the_page_shows_bars_and_how_many_times_as_long_the_peer_takes() -> None:
    row = Row(
        subject="a", size=5000, bar_ms=2.0, ours=(0.003,), waits=(0.004,), peers={"b": (0.012,)}
    )
    held = Footprint(name="a", trials=10, restart_s=0.5, held_mb=60, peak_mb=70)
    text = page([row], [held], (5.0, 0.1), seed=1, load=(0.1, 0.2, 0.3))
    assert "| a | 5,000 | 3.0 | 3.0 | 4.0 | 1 | 2 | NO | b | 12.0 | 1 | 4.0 |" in text
    assert "| a | 10 | 60.00 | 70.0 | NO | 0.50 |" in text


def test_an_experiment_s_footprint_is_what_its_points_take() -> None:
    few, many = (footprint(BY_NAME["tpe"], trials) for trials in (50, 1000))
    # Ten numbers a trial at the least.
    assert many.held_mb - few.held_mb > 950 * 80 / 1e6
    assert many.held_mb < 5
    assert few.restart_s > 0


def test_a_past_of_its_own_making_comes_back() -> None:
    assert footprint(BY_NAME["cmaes"], 60).restart_s > 0


def test_a_grid_of_a_million_points_is_not_listed() -> None:
    _, most_mb = grid_of_a_million(10)
    assert most_mb < 1


def test_the_objective_s_best_value_is_inside_the_ranges() -> None:
    parameters = (
        Parameter(name="lr", type="double", min="1e-4", max="1", distribution="logUniform"),
        Parameter(name="kind", type="categorical", list=("good", "bad")),
    )
    assert objective(parameters, (10**-2.8, "good")) < objective(parameters, (1.0, "good"))
    assert objective(parameters, (0.5, "good")) < objective(parameters, (0.5, "bad"))


def test_points_ahead_of_the_past_are_new() -> None:
    ours = Ours("random", BY_NAME["random"].space, 3)
    past = random_points(BY_NAME["random"].space, 20, 4)
    ours.prime(past)
    assert ours.ask() not in past


def test_a_missed_bar_is_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loadtests.suggest.__main__.in_a_process", lambda name, trials: Footprint(
        name=name, trials=trials, restart_s=0.1, held_mb=1, peak_mb=1
    ))  # fmt: skip
    given = ["random", "--no-peers", "--points", "3", "--sizes", "20"]
    for bar, code in ((1e4, 0), (1e-6, 1)):
        chosen = (replace(BY_NAME["random"], bars_ms={20: bar}),)
        monkeypatch.setattr("loadtests.suggest.__main__.SUBJECTS", chosen)
        assert main([*given, "--page", str(tmp_path / "page.md")]) == code
        assert (tmp_path / "page.md").read_text() in capsys.readouterr().out


def test_what_is_not_measured_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["darts"])
    assert "nothing is measured of darts" in capsys.readouterr().err
