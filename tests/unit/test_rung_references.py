"""hyperband, asha and async-hyperband beside simulations that are written from the papers'
pseudo-code, with plain lists and floats: every trial and every promotion is the same."""

import math
from collections.abc import Callable, Iterator
from random import Random

import pytest

from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import Mark
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.algorithm import Algorithm
from trialbus_suggestion.core.registry import Registry

SPACE = (
    Parameter(name="rate", type="double", min="0.001", max="1", distribution="logUniform"),
    Parameter(name="epochs", type="int", min="1", max="1"),
    Parameter(name="width", type="int", min="1", max="999999"),
)
# (configuration, resource): what a trial is, whoever runs it.
Trial = tuple[PointTexts, int]
Draws = Iterator[PointTexts]


def algorithm_of(name: str, objective: ObjectiveType, **settings: object) -> Algorithm:
    said = {"resource_name": "epochs"} | {key: str(value) for key, value in settings.items()}
    spec = AlgorithmSpec(name=name, settings=tuple(said.items()))
    return Registry().create(Study(parameters=SPACE, objective=objective, algorithm=spec, seed=4))


def split(point: PointTexts) -> Trial:
    return (point[0], point[2]), int(point[1])


def curve(trial: Trial) -> float:
    """A learning curve: each configuration has its own end, speed and noise, so that the order of
    configurations changes from rung to rung."""
    configuration, epochs = trial
    noise = Random(f"{configuration} {epochs}").gauss(0, 0.05)
    rng = Random(str(configuration))
    speed = rng.uniform(0.2, 1.5)
    return rng.uniform(0, 1) + rng.uniform(0.5, 2) * math.pow(epochs, -speed) + noise


class Workers:
    """Runs what the algorithm proposes on a number of workers: trials take as long as `duration`
    says. Knows what was proposed, in order, and what each new configuration was."""

    def __init__(
        self,
        algorithm: Algorithm,
        loss: Callable[[Trial], float | None] = curve,
        *,
        maximize: bool = False,
    ) -> None:
        self.algorithm, self.loss, self.sign = algorithm, loss, -1 if maximize else 1
        self.trials: list[Trial] = []
        self.points: list[PointTexts] = []
        self.marks: list[Mark] = []
        self.told: list[int] = []
        self.exhausted = False

    def ask(self, count: int) -> int:
        request = ProposalRequest(
            number=1, first=len(self.points), count=count, watermark=len(self.told), seed=1
        )
        proposal = self.algorithm.propose(request, Random(1))
        self.points += proposal.points
        self.trials += map(split, proposal.points)
        self.marks += proposal.marks
        self.exhausted = proposal.exhausted
        return len(proposal.points)

    def tell(self, index: int) -> None:
        loss = self.loss(self.trials[index])
        self.told.append(index)
        trial = FinishedTrial(
            number=len(self.told),
            index=index,
            point=self.points[index],
            phase=TrialPhase.FAILED if loss is None else TrialPhase.SUCCEEDED,
            value=None if loss is None else self.sign * loss,
        )
        self.algorithm.tell([trial])

    def run(
        self, workers: int, limit: int, duration: Callable[[Trial], float], at_once: int = 1
    ) -> None:
        """Time goes from end to end; of equal ends the older trial's comes first. at_once: how many
        must be free before anything is asked for."""
        now, running = 0.0, dict[int, float]()
        while True:
            free = min(workers - len(running), limit - len(self.trials))
            first = len(self.trials)
            due = free > 0 and (free >= at_once or not running)
            for i in range(first, first + (self.ask(free) if due else 0)):
                running[i] = now + duration(self.trials[i])
            if not running:
                return
            ended = min(running, key=lambda i: (running[i], i))
            now = running.pop(ended)
            self.tell(ended)


def draws_of(workers: Workers) -> Draws:
    """The random configurations, in the order in which they began: the papers' one source of
    chance."""
    return iter(dict.fromkeys(configuration for configuration, _ in workers.trials))


# --- Li et al. 2018, algorithm 1 -----------------------------------------------------------------


def paper_hyperband(
    largest: int, eta: int, draws: Draws, loss: Callable[[Trial], float | None]
) -> Iterator[list[Trial]]:
    """The rungs in the order of the paper's loops. largest: R."""
    s_max = 0
    while eta ** (s_max + 1) <= largest:
        s_max += 1
    for s in range(s_max, -1, -1):
        # ceil((s_max + 1) / (s + 1) * eta^s) in whole numbers
        n = -(-(s_max + 1) * eta**s // (s + 1))
        survivors = [next(draws) for _ in range(n)]
        for i in range(s + 1):
            n_i = n // eta**i
            r_i = largest * eta**i // eta**s
            rung = [(configuration, r_i) for configuration in survivors]
            yield rung
            losses = {trial[0]: loss(trial) for trial in rung}
            finite = [it for it in survivors if (l_ := losses[it]) is not None and l_ < math.inf]
            survivors = sorted(finite, key=lambda it: losses[it] or 0.0)[: n_i // eta]


@pytest.mark.parametrize(
    ("largest", "eta"), [(81, 3), (243, 3), (64, 4), (16, 2), (100, 3), (50, 2), (5, 4), (1, 3)]
)
@pytest.mark.parametrize("objective", ObjectiveType)
def test_hyperband_walks_all_rungs_of_all_brackets_as_the_paper_does(
    largest: int, eta: int, objective: ObjectiveType
) -> None:
    maximize = objective is ObjectiveType.MAXIMIZE
    workers = Workers(algorithm_of("hyperband", objective, r_l=largest, eta=eta), maximize=maximize)
    # As one worker does the loops of the paper, one trial after the other.
    workers.run(1, 10**6, duration=lambda _: 1.0)
    assert workers.exhausted
    rungs = list(paper_hyperband(largest, eta, draws_of(workers), curve))
    assert workers.trials == [trial for rung in rungs for trial in rung]


@pytest.mark.parametrize("width", [2, 7, 30, 500])
def test_hyperband_comes_to_the_same_trials_however_many_run_at_a_time(width: int) -> None:
    workers = Workers(algorithm_of("hyperband", ObjectiveType.MINIMIZE, r_l=81))
    rng = Random(width)
    lasting: dict[Trial, float] = {}
    workers.run(width, 10**6, lambda it: lasting.setdefault(it, it[1] * rng.uniform(0.5, 5)))
    assert workers.exhausted
    rungs = list(paper_hyperband(81, 3, draws_of(workers), curve))
    assert sorted(workers.trials) == sorted(trial for rung in rungs for trial in rung)
    assert [len(rung) for rung in rungs] == [81, 27, 9, 3, 1, 34, 11, 3, 1, 15, 5, 1, 8, 2, 5]


def test_hyperband_promotes_no_failure_as_in_the_paper_with_infinite_losses() -> None:
    def often_failing(trial: Trial) -> float | None:
        kind = Random(str(trial)).random()
        return None if kind < 0.7 else (math.nan if kind < 0.8 else curve(trial))

    def for_the_paper(trial: Trial) -> float | None:
        loss = often_failing(trial)
        return None if loss is None or math.isnan(loss) else loss

    workers = Workers(algorithm_of("hyperband", ObjectiveType.MINIMIZE, r_l=81), often_failing)
    workers.run(1, 10**6, duration=lambda _: 1.0)
    rungs = list(paper_hyperband(81, 3, draws_of(workers), for_the_paper))
    assert workers.trials == [trial for rung in rungs for trial in rung]
    assert len(workers.trials) < 206


# --- Li et al. 2020, algorithm 2 -----------------------------------------------------------------


class PaperAsha:
    """get_job() of the paper, for one or more brackets. rungs[s][k]: configuration -> loss."""

    def __init__(self, smallest: int, largest: int, eta: int, rates: list[int]) -> None:
        self.smallest, self.eta, self.rates = smallest, eta, rates
        self.height = 0  # floor(log_eta(R / r))
        while smallest * eta ** (self.height + 1) <= largest:
            self.height += 1
        self.rungs: dict[tuple[int, int], list[tuple[float, int, PointTexts]]] = {}
        self.promoted: set[tuple[int, int, PointTexts]] = set()
        self.begun: dict[tuple[PointTexts, int], tuple[int, int]] = {}

    def get_job(self, drawn: tuple[PointTexts, int]) -> Trial:
        """drawn: the configuration and bracket that chance has for a new one."""
        for level in range(self.height - 1, -1, -1):
            for s in self.rates:
                k = level - s
                rung = sorted(self.rungs.get((s, k), []))
                for _, _, configuration in rung[: len(rung) // self.eta]:
                    if (s, k, configuration) not in self.promoted:
                        self.promoted.add((s, k, configuration))
                        return self._begin(configuration, s, k + 1)
        configuration, s = drawn
        return self._begin(configuration, s, 0)

    def _begin(self, configuration: PointTexts, s: int, k: int) -> Trial:
        trial = (configuration, self.smallest * self.eta ** (s + k))
        self.begun[trial] = (s, k)
        return trial

    def update(self, trial: Trial, loss: float, number: int) -> None:
        """number: of the trial, which decides between equal losses."""
        rung = self.rungs.setdefault(self.begun[trial], [])
        rung.append((math.inf if math.isnan(loss) else loss, number, trial[0]))


def asked_like_the_paper(workers: Workers, paper: PaperAsha) -> None:
    """Every proposal is compared with what the paper's get_job() says at that time."""
    own_ask, own_tell = workers.ask, workers.tell

    def ask(count: int) -> int:
        first = len(workers.trials)
        given = own_ask(count)
        for index in range(first, first + given):
            mark, (configuration, _) = workers.marks[index], workers.trials[index]
            # The only chance: which configuration is new, and which bracket it belongs to.
            drawn = configuration, int(mark.label("trialbus.io/bracket") or 0)
            assert workers.trials[index] == paper.get_job(drawn)
            if mark.parent is None:
                assert configuration not in {it for it, _ in workers.trials[:index]}
            else:
                assert workers.trials[mark.parent][0] == configuration
        return given

    def tell(index: int) -> None:
        trial = workers.trials[index]
        loss = workers.loss(trial)
        paper.update(trial, math.inf if loss is None else loss, index)
        own_tell(index)

    workers.ask, workers.tell = ask, tell  # type: ignore[method-assign]


@pytest.mark.parametrize("at_once", [1, 6])
@pytest.mark.parametrize("s", [0, 1])
@pytest.mark.parametrize("eta", [2, 3, 4])
def test_asha_promotes_whom_the_paper_promotes(eta: int, s: int, at_once: int) -> None:
    """16 workers of different speeds; 81 curves and their promotions. Only where several trials
    end before a place is given does it matter that the top rung comes first."""
    algorithm = algorithm_of("asha", ObjectiveType.MINIMIZE, r_l=81, eta=eta, s=s)
    workers, rng = Workers(algorithm), Random(eta)
    paper = PaperAsha(1, 81, eta, [s])
    asked_like_the_paper(workers, paper)
    workers.run(16, 400, lambda it: it[1] * rng.uniform(0.2, 4), at_once)
    assert len(workers.trials) == 400
    assert len({configuration for configuration, _ in workers.trials}) >= 81
    assert {k for _, k in paper.begun.values()} == set(range(paper.height - s + 1))


def test_asha_counts_failures_as_infinitely_bad() -> None:
    def often_failing(trial: Trial) -> float | None:
        kind = Random(str(trial)).random()
        return None if kind < 0.2 else (math.nan if kind < 0.4 else curve(trial))

    algorithm = algorithm_of("asha", ObjectiveType.MINIMIZE, r_l=27, r_min=3)
    workers, rng = Workers(algorithm, often_failing), Random(2)
    asked_like_the_paper(workers, PaperAsha(3, 27, 3, [0]))
    workers.run(16, 300, lambda it: it[1] * rng.uniform(0.2, 4))
    promoted = [workers.trials[mark.parent] for mark in workers.marks if mark.parent is not None]
    assert len(promoted) > 30
    losses = [often_failing(trial) for trial in promoted]
    assert all(loss is not None and math.isfinite(loss) for loss in losses)


def test_asynchronous_hyperband_is_asha_in_several_brackets() -> None:
    algorithm = algorithm_of("async-hyperband", ObjectiveType.MAXIMIZE, r_l=27)
    workers, rng = Workers(algorithm, maximize=True), Random(3)
    asked_like_the_paper(workers, PaperAsha(1, 27, 3, [0, 1, 2, 3]))
    workers.run(16, 1500, lambda it: it[1] * rng.uniform(0.2, 4), at_once=4)
    began = [mark for mark in workers.marks if mark.parent is None]
    # Hyperband begins 27, 12, 6 and 4 configurations in its brackets.
    for s, size in enumerate((27, 12, 6, 4)):
        share = sum(mark.label("trialbus.io/bracket") == str(s) for mark in began) / len(began)
        assert share == pytest.approx(size / 49, abs=0.05)
