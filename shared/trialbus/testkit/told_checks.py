"""What all processes of a simulated world have counted, beside what the store says.

Nothing is counted twice, whatever happens; a crash, or a store that did not answer, between a
commit and its count leaves that one out, so only where nothing went wrong is every count exact.
"""

import math
from collections import Counter
from collections.abc import Iterator

from trialbus.contracts.documents import ANSWER, Document
from trialbus.runtime import metrics
from trialbus.runtime.metric import Kind
from trialbus.testkit.scenario import Outcome

# A metric and its labels' values.
Told = tuple[str, tuple[str, ...]]
_COUNTED = (
    metrics.KATIB_EXPERIMENT_CREATED,
    metrics.KATIB_EXPERIMENT_SUCCEEDED,
    metrics.KATIB_TRIAL_CREATED,
    metrics.KATIB_TRIAL_SUCCEEDED,
    metrics.KATIB_TRIAL_FAILED,
    metrics.KATIB_TRIAL_METRICS_UNAVAILABLE,
    metrics.EXPERIMENTS_ENDED,
    metrics.TRIALS_OPENED,
    metrics.TRIALS_ENDED,
    metrics.TRIAL_COUNTED,
    metrics.TRIAL_SECONDS,
    metrics.SUGGESTED,
    metrics.POINTS,
    metrics.STOP_VERDICTS,
    metrics.STOP_VERDICT,
)
_SAMPLES = {it.name + ("_count" if it.kind is Kind.HISTOGRAM else ""): it for it in _COUNTED}
_ROUNDING_S = 1e-6


def check_told(outcome: Outcome) -> None:
    """Raises AssertionError. Of latencies the number is compared, of paid time the sum."""
    whole = all_told(outcome)
    real = Counter(dict(_real(outcome)))
    exact = not outcome.world.faults
    where = f"seed {outcome.seed}"
    for key in sorted(whole.keys() | real.keys()):
        told, there = whole[key], real[key]
        twice = told > there + _ROUNDING_S
        missing = exact and not math.isclose(told, there, abs_tol=_ROUNDING_S)
        if twice or missing:
            raise AssertionError(f"{where}: {key}: {told} were counted, {there} are there")


def all_told(outcome: Outcome) -> Counter[Told]:
    """By all processes there ever were."""
    whole: Counter[Told] = Counter()
    for registry in outcome.world.registries:
        for family in registry.restricted_registry(list(_SAMPLES)).collect():
            for sample in family.samples:
                metric = _SAMPLES.get(sample.name)
                if metric is not None and sample.value:
                    labels = tuple(sample.labels[it] for it in metric.label_names)
                    # Of the ways in which attempts end the sum is compared.
                    key = () if metric is metrics.TRIAL_SECONDS else labels
                    whole[metric.name, key] += sample.value  # type: ignore[assignment]
    return whole


def _real(outcome: Outcome) -> Iterator[tuple[Told, float]]:
    documents = outcome.world.store.documents
    experiments: Counter[str] = Counter()
    trials: Counter[str] = Counter()
    spent_s = 0.0
    for state in outcome.experiments:
        experiments[state.phase.value] += 1
        spent_s += state.spent
    namespace = (outcome.experiments[0].namespace,)
    for trial in documents("trials"):
        trials[trial["phase"]] += 1
    yield (metrics.KATIB_EXPERIMENT_CREATED.name, namespace), experiments.total()
    yield (metrics.KATIB_EXPERIMENT_SUCCEEDED.name, namespace), experiments["Succeeded"]
    for phase, count in experiments.items():
        yield (metrics.EXPERIMENTS_ENDED.name, (phase,)), count
    yield (metrics.KATIB_TRIAL_CREATED.name, namespace), trials.total()
    yield (metrics.TRIALS_OPENED.name, ()), trials.total()
    yield (metrics.TRIAL_COUNTED.name, ()), _by_their_runs(outcome)
    for phase, count in trials.items():
        yield (metrics.TRIALS_ENDED.name, (phase,)), count
    for metric, phase in (
        (metrics.KATIB_TRIAL_SUCCEEDED, "Succeeded"),
        (metrics.KATIB_TRIAL_FAILED, "Failed"),
        (metrics.KATIB_TRIAL_METRICS_UNAVAILABLE, "MetricsUnavailable"),
    ):
        yield (metric.name, namespace), trials[phase]
    yield (metrics.TRIAL_SECONDS.name, ()), spent_s
    yield from _answers(outcome, documents("answers"))
    verdicts = Counter(it["verdict"]["rule"] for it in documents("evidence") if it.get("verdict"))
    for rule, count in verdicts.items():
        yield (metrics.STOP_VERDICTS.name, (rule,)), count
    yield (metrics.STOP_VERDICT.name, ()), verdicts.total()


def _by_their_runs(outcome: Outcome) -> int:
    """Trials whose last attempt ended and was not lost."""
    finished = {it["_id"] for it in outcome.world.store.documents("runs") if _finished(it)}
    trials = outcome.world.store.documents("trials")
    return sum(f"{it['uid']}.{it['index']}.{it['attempt']}" in finished for it in trials)


def _finished(run: Document) -> bool:
    return bool(run["phase"] == "Finished")


def _answers(outcome: Outcome, answers: list[Document]) -> Iterator[tuple[Told, float]]:
    algorithms = {it.id: it.spec.algorithm.name for it in outcome.experiments}
    asked: Counter[str] = Counter()
    points: Counter[str] = Counter()
    for answer in map(ANSWER.decode, answers):
        asked[algorithms[answer.uid]] += 1
        points[algorithms[answer.uid]] += len(answer.points)
    for algorithm, count in asked.items():
        yield (metrics.SUGGESTED.name, (algorithm,)), count
        yield (metrics.POINTS.name, (algorithm,)), points[algorithm]
