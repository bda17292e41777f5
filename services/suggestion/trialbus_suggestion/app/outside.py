"""Answering whoever else speaks Katib, its own controller for one: nothing is stored here, and all
that an answer depends on comes with the request."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.kernel.catalogue import Catalogue
from trialbus.kernel.ids import seed_of
from trialbus.kernel.proposals import (
    FinishedTrial,
    History,
    PointTexts,
    Proposal,
    ProposalRequest,
    Study,
)
from trialbus.kernel.space import SearchSpace
from trialbus.kernel.spec import ExperimentSpec, Place
from trialbus.kernel.trial import TrialPhase
from trialbus.ports.clock import Ids
from trialbus.ports.compute import Compute
from trialbus_suggestion.core.seeds import request_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideTrial:
    """phase: CREATED while it runs. value: of the objective, None if there is none. started, ended:
    texts that order trials by their beginnings and ends; empty: not yet."""

    assignments: Mapping[str, str]
    phase: TrialPhase
    value: float | None
    ended: str
    started: str = ""


class OutsideAnswering:
    def __init__(self, compute: Compute, catalogue: Catalogue, ids: Ids) -> None:
        self._compute = compute
        self._catalogue = catalogue
        self._ids = ids

    def check(self, experiment: Mapping[str, Any]) -> ParsedExperiment:
        """experiment: a Katib Experiment object without a template. Raises Refused with every
        problem, in Katib's words where it has some."""
        whole = self._with_template(experiment)
        return parse_experiment(whole, catalogue=self._catalogue, place=Place.CLUSTER)

    def _with_template(self, experiment: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of an architecture search the template says what the points hold: all that there is."""
        algorithm = experiment["spec"]["algorithm"]["algorithmName"]
        description = self._catalogue.algorithms.get(algorithm)
        if description is None or not description.gives or "nasConfig" not in experiment["spec"]:
            return experiment
        template = _template_of(description.gives)
        return {**experiment, "spec": {**experiment["spec"], "trialTemplate": template}}

    async def propose(
        self,
        experiment: Mapping[str, Any],
        trials: Sequence[OutsideTrial],
        *,
        count: int,
        total: int,
    ) -> tuple[ParsedExperiment, Proposal]:
        """`count` points, fewer when the space is spent; total: points so far and these. The same
        request is answered with the same points. Raises Refused, Transient."""
        parsed = self.check(experiment)
        spec = parsed.spec
        past = _history(spec, self._resource(spec), trials)
        random_state = spec.algorithm.setting("random_state")
        seed = seed_of(f"random_state={random_state}" if random_state else parsed.name)
        request = ProposalRequest(
            number=total,
            first=len(past.points),
            count=count,
            watermark=len(past.finished),
            seed=request_seed(seed, total) >> 1,
        )
        # Trials that Katib does not tell again, for want of metrics, shift the indexes of points:
        # under the same seed those would come once more.
        untold = max(0, total - count - len(past.points))
        study = Study(
            parameters=spec.parameters,
            objective=spec.objective.type,
            algorithm=spec.algorithm,
            seed=request_seed(seed, untold) >> 1 if untold else seed,
            nas=spec.nas,
            names=spec.assignment_names,
        )

        async def history(*, first: int, after: int | None) -> History:
            finished = () if after is None else past.finished[after:]
            return History(first=first, points=past.points[first:], finished=finished)

        # An identity of its own: nothing of one request is remembered for another.
        uid = self._ids.new_id()
        try:
            return parsed, await self._compute.propose(uid, study, request, history)
        finally:
            self._compute.forget(uid)

    def _resource(self, spec: ExperimentSpec) -> str | None:
        """The parameter that the algorithm sets itself, if it does so."""
        setting = self._catalogue.algorithms[spec.algorithm.name].resource_setting
        return spec.algorithm.setting(setting) if setting else None


def _history(spec: ExperimentSpec, resource: str | None, trials: Sequence[OutsideTrial]) -> History:
    """Points that this search space does not have (of another algorithm, before a change) teach
    nothing and are passed over. Katib tells trials in any order; who goes on from another one must
    come after it."""
    space = SearchSpace(spec.parameters) if spec.nas is None else None
    known: list[tuple[PointTexts, OutsideTrial]] = []
    for trial in sorted(trials, key=lambda it: (not it.started, it.started)):
        try:
            if space is None:
                texts = tuple(trial.assignments[name] for name in spec.assignment_names)
            else:
                texts = _texts(space, resource, trial.assignments)
            known.append((texts, trial))
        except (KeyError, ValueError):
            continue
    ended = sorted(
        (index for index, (_, trial) in enumerate(known) if trial.phase is not TrialPhase.CREATED),
        key=lambda index: (known[index][1].ended, index),
    )
    finished = tuple(
        FinishedTrial(
            number=number,
            index=index,
            point=known[index][0],
            phase=known[index][1].phase,
            value=known[index][1].value,
        )
        for number, index in enumerate(ended, start=1)
    )
    return History(points=tuple(point for point, _ in known), finished=finished)


def _template_of(names: Sequence[str]) -> Mapping[str, Any]:
    """Refers to these values. Nothing is run of it."""
    arguments = [f"${{trialParameters.{name}}}" for name in names]
    container = {"name": "main", "image": "none", "args": arguments}
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {
        "primaryContainerName": "main",
        "trialParameters": [{"name": name, "reference": name} for name in names],
        "trialSpec": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"template": {"spec": pod}},
        },
    }


def _texts(space: SearchSpace, resource: str | None, assignments: Mapping[str, str]) -> PointTexts:
    """As they are proposed; the resource may be outside of its range. ValueError: no such point."""
    if resource is None:
        return space.key(space.point(assignments))
    at = next(i for i, it in enumerate(space.parameters) if it.name == resource)
    # Any value of its range will do, to read the others.
    inside = space.axes[at].text(space.axes[at].from_unit(0.5))
    texts = space.key(space.point({**assignments, resource: inside}))
    given = assignments.get(resource, "")
    if not math.isfinite(float(given)):
        raise ValueError(f"{given!r} is no resource")
    return (*texts[:at], given, *texts[at + 1 :])
