"""ASHA, asynchronous Hyperband and Hyperband beside random search, on learning curves of real
training: the best accuracy against the epochs that were trained.

The algorithms are those of the suggestion service, asked and told as it does; only the training is
looked up in curves that were made once (`rung_curves`). Four workers; an epoch lasts a unit of time
for everybody. A promoted trial goes on from its parent's checkpoint, so it trains the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from random import Random
from statistics import fmean

from loadtests.quality.plots import line_plot
from loadtests.quality.rung_curves import CONFIGURATIONS, EPOCHS, load
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.suggestion import UNMARKED, Mark
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.registry import Registry

SEEDS, WORKERS, POOL = 10, 4, 81
BEGIN, END = "<!-- results -->", "<!-- /results -->"
# The bar: so many fewer epochs, with the best accuracy that near to random search's.
WANTED_SAVING, WANTED_NEARNESS = 0.6, 0.01
RESOURCE = (("resource_name", "epochs"), ("r_l", str(EPOCHS)), ("eta", "3"))

Curves = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """pool: of how many configurations it may choose; Hyperband's brackets begin 143."""

    name: str
    algorithm: str
    settings: tuple[tuple[str, str], ...]
    pool: int


ENTRANTS = (
    Entrant(name="random", algorithm="random", settings=(), pool=POOL),
    Entrant(name="asha", algorithm="asha", settings=RESOURCE, pool=POOL),
    Entrant(name="async-hyperband", algorithm="async-hyperband", settings=RESOURCE, pool=POOL),
    Entrant(name="hyperband", algorithm="hyperband", settings=RESOURCE, pool=CONFIGURATIONS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """best: (epochs trained by all so far, best accuracy so far), where it rose and at the end.
    anew: epochs it would have taken without checkpoints."""

    best: tuple[tuple[int, float], ...]
    trials: int
    epochs: int
    anew: int

    @property
    def accuracy(self) -> float:
        return self.best[-1][1]

    def epochs_to(self, accuracy: float) -> int | None:
        return next((epochs for epochs, reached in self.best if reached >= accuracy), None)

    def at(self, epochs: int) -> float:
        """The best accuracy after so many epochs; 0 before the first trial has ended."""
        return max((it for at, it in self.best if at <= epochs), default=0.0)


def search(entrant: Entrant, seed: int, curves: Curves) -> Searched:
    """Until the algorithm has nothing more to propose."""
    run = _Run(entrant, seed, curves)
    while run.step():
        pass
    return run.searched()


class _Run:
    """Four workers and a clock. Each seed has its own draw from the configurations."""

    def __init__(self, entrant: Entrant, seed: int, curves: Curves) -> None:
        self._curves = Random(seed).sample(list(curves), entrant.pool)
        parameters = [Parameter(name="number", type="int", min="0", max=str(entrant.pool - 1))]
        self._has_rungs = bool(entrant.settings)
        if self._has_rungs:
            parameters.append(Parameter(name="epochs", type="int", min="1", max=str(EPOCHS)))
        study = Study(
            parameters=tuple(parameters),
            objective=ObjectiveType.MAXIMIZE,
            algorithm=AlgorithmSpec(name=entrant.algorithm, settings=entrant.settings),
            seed=seed,
        )
        self._algorithm = Registry().create(study)
        self._points: list[PointTexts] = []
        self._marks: list[Mark] = []
        self._ends: dict[int, int] = {}
        self._now = self._told = self._epochs = self._anew = 0
        self._best: list[tuple[int, float]] = []

    def step(self) -> bool:
        """Fills the free workers, and goes to the next end; false: nothing runs any more."""
        first, free = len(self._points), WORKERS - len(self._ends)
        request = ProposalRequest(
            number=first + 1, first=first, count=free, watermark=self._told, seed=0
        )
        proposal = self._algorithm.propose(request, Random(first))
        self._points += proposal.points
        self._marks += proposal.marks or (UNMARKED,) * len(proposal.points)
        for index in range(first, len(self._points)):
            begin, end = self._stretch(index)
            self._ends[index] = self._now + end - begin
        if not self._ends:
            return False
        ended = min(self._ends, key=lambda index: (self._ends[index], index))
        self._now = self._ends.pop(ended)
        self._tell(ended)
        return True

    def _stretch(self, index: int) -> tuple[int, int]:
        """The epochs that a trial trains: after which, up to which."""
        parent = self._marks[index].parent
        begin = 0 if parent is None else int(self._points[parent][1])
        return begin, int(self._points[index][1]) if self._has_rungs else EPOCHS

    def _tell(self, index: int) -> None:
        begin, end = self._stretch(index)
        self._told += 1
        self._epochs += end - begin
        self._anew += end
        value = max(self._curves[int(self._points[index][0])][begin:end])
        if not self._best or value > self._best[-1][1]:
            self._best.append((self._epochs, value))
        trial = FinishedTrial(
            number=self._told,
            index=index,
            point=self._points[index],
            phase=TrialPhase.SUCCEEDED,
            value=value,
        )
        self._algorithm.tell([trial])

    def searched(self) -> Searched:
        return Searched(
            best=(*self._best, (self._epochs, self._best[-1][1])),
            trials=len(self._points),
            epochs=self._epochs,
            anew=self._anew,
        )


def run(out: Path) -> None:
    """Writes asha.svg into the folder, and the results between the marks of its asha.md. Raises
    AssertionError if the bar is missed."""
    curves = load()
    found = {it.name: [search(it, seed, curves) for seed in range(SEEDS)] for it in ENTRANTS}
    page = out / "asha.md"
    before, _, rest = page.read_text().partition(BEGIN)
    results = "\n".join([*_table(found), "", *_versions()])
    page.write_text(f"{before}{BEGIN}\n\n{results}\n\n{END}{rest.partition(END)[2]}")
    (out / "asha.svg").write_text(_plot(found))
    for name in ("asha", "async-hyperband", "hyperband"):
        saving, loss = _saving(found, name), _loss(found, name)
        if saving < WANTED_SAVING or loss > WANTED_NEARNESS:
            raise AssertionError(f"{name}: {saving:.1%} fewer epochs, {loss:.2%} less accuracy")


def _saving(found: dict[str, list[Searched]], name: str) -> float:
    """The share of random search's epochs that is not needed."""
    own = fmean(it.epochs for it in found[name])
    return 1 - own / fmean(it.epochs for it in found["random"])


def _loss(found: dict[str, list[Searched]], name: str) -> float:
    """By how much the best accuracy is less than random search's, relative to that."""
    pairs = zip(found[name], found["random"], strict=True)
    return fmean(1 - own.accuracy / theirs.accuracy for own, theirs in pairs)


def _table(found: dict[str, list[Searched]]) -> list[str]:
    rows = [
        "| algorithm | trials | epochs | fewer than random | without checkpoints "
        "| best accuracy | less than random | epochs to 99 % of random's best |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in found.items():
        cells = [
            f"`{name}`",
            f"{fmean(it.trials for it in runs):.0f}",
            f"{fmean(it.epochs for it in runs):.0f}",
            f"{_saving(found, name):.1%}",
            f"{fmean(it.anew for it in runs):.0f}",
            f"{fmean(it.accuracy for it in runs):.4f}",
            f"{_loss(found, name):.2%}",
            _reached(runs, found["random"]),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _reached(runs: Sequence[Searched], randoms: Sequence[Searched]) -> str:
    """The mean of the epochs, of those seeds that came there."""
    pairs = zip(runs, randoms, strict=True)
    targets = [(own, (1 - WANTED_NEARNESS) * theirs.accuracy) for own, theirs in pairs]
    epochs = [it for own, target in targets if (it := own.epochs_to(target)) is not None]
    return f"{fmean(epochs):.0f} ({len(epochs)} of {len(runs)} seeds)" if epochs else "never"


def _versions() -> list[str]:
    return [f"Python {python_version()}, trialbus {version('trialbus')}, {SEEDS} seeds."]


def _plot(found: dict[str, list[Searched]]) -> str:
    """The mean error of the best so far; each algorithm up to its mean number of epochs."""
    longest = max(it.epochs for runs in found.values() for it in runs)
    curves = {}
    for name, runs in found.items():
        end = fmean(it.epochs for it in runs)
        ats = [at for at in range(EPOCHS, longest + 1, 27) if at <= end]
        curves[name] = [(float(at), 1 - fmean(it.at(at) for it in runs)) for at in ats]
    return line_plot("Error of the best configuration so far", "epochs trained in all", curves)
