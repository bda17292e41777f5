"""Who takes part: what an optimiser must do, and the algorithms of trialbus behind it."""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Protocol

from loadtests.quality.tasks import Assignments
from trialbus.kernel.catalogue import Submission
from trialbus.kernel.objective import ObjectiveType
from trialbus.kernel.proposals import FinishedTrial, PointTexts, ProposalRequest, Study
from trialbus.kernel.space import Parameter
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import TrialPhase
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.core.seeds import request_seed

Parameters = tuple[Parameter, ...]
# Modules whose code decides which points an algorithm of ours draws. Not the kernel: what a space
# is does not change.
DECISIVE = ("trialbus_suggestion.core.",)
# Texts and defaults for all algorithms at once; an algorithm's own defaults are hashed by value.
DESCRIPTIVE = ("trialbus_suggestion.core.descriptions", "trialbus_suggestion.core.catalogue")


class Optimiser(Protocol):
    def ask(self) -> Assignments | None:
        """The next point; None: it waits for results."""

    def tell(self, index: int, loss: float) -> None:
        """The loss of the index-th point that was asked for, from 0. Every point is told once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """version: changes when its points may change. takes: whether it searches such a space.
    create: from parameters and a seed. needs: packages that must be there. in_flight: whether it
    may be asked again before it was told."""

    name: str
    version: Callable[[], str]
    takes: Callable[[Parameters], bool]
    create: Callable[[Parameters, int], Optimiser]
    needs: tuple[str, ...] = ()
    in_flight: bool = True

    def missing(self) -> list[str]:
        return [name for name in self.needs if find_spec(name) is None]


class Ours:
    """An algorithm of the registry, asked as the suggestion service asks it."""

    def __init__(self, name: str, parameters: Parameters, seed: int) -> None:
        self._names = [parameter.name for parameter in parameters]
        self._seed = seed
        self._points: list[PointTexts] = []
        self._finished = self._requests = 0
        self._algorithm = Registry().create(
            Study(
                parameters=parameters,
                objective=ObjectiveType.MINIMIZE,
                algorithm=AlgorithmSpec(name=name, settings=()),
                seed=seed,
            )
        )

    def ask(self) -> Assignments | None:
        self._requests += 1
        request = ProposalRequest(
            number=self._requests,
            first=len(self._points),
            count=1,
            watermark=self._finished,
            seed=request_seed(self._seed, self._requests),
        )
        points = self._algorithm.propose(request, Random(request.seed)).points
        if not points:
            return None
        self._points.extend(points)
        return dict(zip(self._names, points[0], strict=True))

    def tell(self, index: int, loss: float) -> None:
        self._finished += 1
        trial = FinishedTrial(
            number=self._finished,
            index=index,
            point=self._points[index],
            phase=TrialPhase.SUCCEEDED,
            value=loss,
        )
        self._algorithm.tell([trial])


def is_registered(name: str) -> bool:
    return any(description.name == name for description in Registry().descriptions)


def ours(name: str) -> Entrant:
    """KeyError: there is no such algorithm."""
    description = Registry().describe(name)

    def takes(parameters: Parameters) -> bool:
        submission = Submission(
            parameters=parameters, settings={}, parallel_trial_count=8, max_trial_count=None
        )
        return not list(description.check(submission))

    module = description.implementation.partition(":")[0]
    defaults = {setting.name: setting.default for setting in description.settings}
    return Entrant(
        name=name,
        version=lambda: f"source {source_hash(module, defaults)}",
        takes=takes,
        create=lambda parameters, seed: Ours(name, parameters, seed),
    )


def packaged(*names: str) -> str:
    """The versions of packages, as one text."""
    return " ".join(f"{name} {package_version(name)}" for name in names)


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def source_hash(module: str, defaults: Mapping[str, object]) -> str:
    """Of the code of a module and of what it imports, as far as it decides about points; comments,
    docstrings and formatting do not count."""
    digest = blake2b(repr(sorted(defaults.items())).encode(), digest_size=4)
    for _, code in sorted(_closure(module).items()):
        digest.update(code.encode())
    return digest.hexdigest()


def _closure(start: str) -> dict[str, str]:
    codes: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in codes or not _is_decisive(name):
            continue
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        tree = ast.parse(Path(spec.origin).read_text())
        codes[name] = ast.unparse(_without_docstrings(tree))
        waiting.extend(_imported(tree))
    return codes


def _is_decisive(name: str) -> bool:
    return name.startswith(DECISIVE) and not name.startswith(DESCRIPTIVE)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = _code_of(node.body)
    return tree


def _code_of(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return [*body[1:]] or [ast.Pass()]
    return [*body]
