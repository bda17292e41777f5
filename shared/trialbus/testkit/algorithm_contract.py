"""What every algorithm owes, as tests: derive a test class, say which algorithm it is.

class TestMine(AlgorithmContract):
    subject = Subject(description=MINE)
"""

import math
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import ClassVar

import pytest
from scipy import stats

from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter, SearchSpace
from trialbus.kernel.trial import TrialPhase
from trialbus.testkit.algorithm_runs import Run, Subject, size_of
from trialbus.testkit.algorithm_spaces import (
    DOUBLES,
    INTEGERS,
    LISTS,
    MIXED,
    PARAMETERS,
    SIXTY,
    STEPPED,
    TWELVE,
    cell_shares,
    frozen,
    identity,
)

P_VALUE = 0.001
# Fewer values say nothing about their distribution.
MIN_VALUES = 20


class AlgorithmContract:
    subject: ClassVar[Subject]

    def study(self) -> Study:
        """Over a space of all kinds of parameters that it takes."""
        if self.subject.nas is not None:
            return self.subject.study()
        return self.subject.study(self.space(*MIXED))

    def space(self, *choices: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        if self.subject.nas is not None:
            pytest.skip("it searches architectures")
        found = self.subject.space_of(*choices)
        if found is None:
            pytest.skip("refused at submission")
        return found

    def around(self, parameter: Parameter) -> tuple[Parameter, ...]:
        if self.subject.nas is not None:
            pytest.skip("it searches architectures")
        found = self.subject.around(parameter)
        if found is None:
            pytest.skip("refused at submission")
        return found

    @pytest.mark.parametrize("parameter", PARAMETERS, ids=identity)
    def test_points_lie_within_bounds_and_on_the_grid(self, parameter: Parameter) -> None:
        run = Run(self.subject, self.subject.study(self.around(parameter)))
        run.rounds(3, 2)
        assert len(run.points) >= 3
        for text, *_ in run.points:
            if parameter.list:
                assert text in parameter.list
                continue
            assert Decimal(parameter.min) <= Decimal(text) <= Decimal(parameter.max)
            if parameter.step:
                assert (Decimal(text) - Decimal(parameter.min)) % Decimal(parameter.step) == 0
            if parameter.type == "int":
                assert str(int(text)) == text

    def test_a_restart_in_the_middle_gives_the_same_continuation(self) -> None:
        run = Run(self.subject, self.study())
        run.rounds(8, 2)
        for request, answer in run.requests:
            for portion in (1, 100):
                again = run.told_anew(request, portion)
                assert again.propose(request, Random(request.seed)) == answer

    def test_the_order_in_which_trials_end_makes_no_difference(self) -> None:
        run = Run(self.subject, self.study())
        run.rounds(8, 3)
        for request, answer in run.requests:
            again = run.told_anew(request, 2, order=Random(request.number))
            assert again.propose(request, Random(request.seed)) == answer

    def test_trials_of_others_are_learned_as_first_points_of_its_own(self) -> None:
        """Of an algorithm that says so: it gave them no marks, and all of them have ended."""
        if self.subject.description.warm_start != "learns":
            pytest.skip("it does not take them")
        space = SearchSpace(self.study().parameters)
        rng, count = Random(1), 30
        drawn = (space.from_unit([rng.random() for _ in space.axes]) for _ in range(count))
        points = [space.key(point) for point in drawn]
        ended = [
            FinishedTrial(number=i + 1, index=i, point=it, phase=phase, value=value)
            for i, it in enumerate(points)
            for phase, value in [size_of(i, it)]
        ]
        request = ProposalRequest(number=1, first=count, count=4, watermark=count, seed=5)
        answers = []
        for portion in (count, 7):
            algorithm = Run(self.subject, self.study()).algorithm
            for first in range(0, count, portion):
                algorithm.restore(points[first : first + portion])
            for first in range(0, count, portion):
                algorithm.tell(ended[first : first + portion])
            answers.append(algorithm.propose(request, Random(request.seed)).points)
        assert answers[0] == answers[1]
        assert len(set(answers[0])) == 4
        assert all(space.key(space.parse(point)) == point for point in answers[0])

    def test_other_seeds_give_other_points(self) -> None:
        request = ProposalRequest(number=1, first=0, count=3, watermark=0, seed=1)
        first, second = (
            Run(self.subject, replace(self.study(), seed=seed))
            .algorithm.propose(replace(request, seed=seed), Random(seed))
            .points
            for seed in (1, 2)
        )
        assert first != second

    def test_a_finite_space_is_drawn_completely_and_each_point_once(self) -> None:
        if not self.subject.covers_space:
            pytest.skip("not in its nature")
        run = Run(self.subject, self.subject.study(self.space(*TWELVE)))
        run.rounds(4, 3)
        assert len(set(run.points)) == 12
        assert not run.exhausted
        assert run.ask(2) == ()
        assert run.exhausted

    def test_32_workers_share_a_space_of_60_points_without_a_duplicate(self) -> None:
        if self.subject.repeats:
            pytest.skip("not in its nature")
        run = Run(self.subject, self.subject.study(self.space(*SIXTY)))
        run.ask(32)
        while not run.exhausted and len(run.points) < self.subject.trials:
            for index in run.unfinished[:7]:
                run.finish(index)
            run.ask(32 - len(run.unfinished))
        assert len(run.points) == len(set(run.points))
        if self.subject.covers_space:
            assert len(run.points) == 60

    def test_with_duplicates_allowed_a_small_space_never_ends(self) -> None:
        if not self.subject.allows_duplicates:
            pytest.skip("it has no such setting")
        space = self.around(Parameter(name="a", type="int", min="1", max="2"))
        run = Run(self.subject, self.subject.study(space, ("duplicates", "allow")))
        run.rounds(3, 2)
        assert len(run.points) == 6
        assert not run.exhausted

    @pytest.mark.parametrize(
        "value", [None, math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0], ids=str
    )
    def test_failed_trials_and_strange_values_are_survived(self, value: float | None) -> None:
        def mostly_strange(index: int, _point: PointTexts) -> tuple[TrialPhase, float | None]:
            if index % 4 == 3:
                return TrialPhase.SUCCEEDED, float(index)
            phase = TrialPhase.FAILED if value is None else TrialPhase.SUCCEEDED
            return phase, value

        run = Run(self.subject, self.study(), mostly_strange)
        run.grow(12, width=2)
        assert run.exhausted or len(run.points) == 12

    @pytest.mark.parametrize(
        "phase",
        [TrialPhase.FAILED, TrialPhase.KILLED, TrialPhase.METRICS_UNAVAILABLE],
        ids=str,
    )
    def test_an_experiment_of_failures_goes_on(self, phase: TrialPhase) -> None:
        run = Run(self.subject, self.study(), lambda _index, _point: (phase, None))
        run.grow(8, width=2)
        assert run.exhausted or len(run.points) == 8

    def test_early_stopped_trials_count_with_what_they_showed(self) -> None:
        """The same values teach the same, however the trials ended; without any they teach less."""

        def stopped(index: int, point: PointTexts) -> tuple[TrialPhase, float | None]:
            return TrialPhase.EARLY_STOPPED, size_of(index, point)[1]

        whole, cut = (Run(self.subject, self.study(), it) for it in (size_of, stopped))
        whole.rounds(6, 2)
        cut.rounds(6, 2)
        assert cut.points == whole.points
        blind = Run(self.subject, self.study(), lambda *_: (TrialPhase.EARLY_STOPPED, None))
        blind.grow(8, width=2)
        assert blind.exhausted or len(blind.points) == 8

    def test_many_trials_are_no_burden(self) -> None:
        run, wanted = Run(self.subject, self.study()), self.subject.trials
        if self.subject.grows_itself:
            run.grow(wanted)
        else:
            space, rng = SearchSpace(run.study.parameters), Random(5)
            drawn = (space.from_unit([rng.random() for _ in space.axes]) for _ in range(wanted))
            run.points = [space.key(point) for point in drawn]
            run.algorithm.restore(run.points)
            for index in range(wanted):
                run.finish(index)
        before = set(run.points)
        new = run.ask(3)
        assert run.exhausted or len(new) == 3
        assert self.subject.repeats or not before & set(new)

    @pytest.mark.parametrize("parameter", DOUBLES, ids=identity)
    def test_first_points_follow_a_continuous_distribution(self, parameter: Parameter) -> None:
        values = self.first_values(parameter)
        assert stats.kstest(values, frozen(parameter).cdf).pvalue > P_VALUE

    @pytest.mark.parametrize("parameter", [*STEPPED, *INTEGERS, *LISTS], ids=identity)
    def test_first_points_follow_a_grid_s_distribution(self, parameter: Parameter) -> None:
        if not self.subject.allows_duplicates:
            pytest.skip("each point comes once, whatever the distribution")
        values, shares = self.first_values(parameter), cell_shares(parameter)
        space = SearchSpace((parameter,))
        counts = Counter(space.index_of((value,)) for value in values)
        observed = [counts[i] for i in range(len(shares))]
        expected = [share * sum(observed) for share in shares]
        assert stats.chisquare(observed, expected).pvalue > P_VALUE

    def first_values(self, parameter: Parameter) -> list[float]:
        """Of up to 1000 points, before any result is known."""
        if not self.subject.follows_distributions:
            pytest.skip("not in its nature")
        again = (("duplicates", "allow"),) if self.subject.allows_duplicates else ()
        study = self.subject.study(self.around(parameter), *self.subject.initial_settings, *again)
        run, space = Run(self.subject, study), SearchSpace((parameter,))
        values = [space.parse(point[:1])[0] for point in run.ask(1000)]
        assert len(values) >= MIN_VALUES
        return values  # type: ignore[return-value]
