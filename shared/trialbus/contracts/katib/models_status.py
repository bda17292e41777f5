"""What is told of Experiments, Suggestions and Trials: their status, and what is proposed."""

from typing import Annotated

from trialbus.contracts.katib.models_base import (
    Amount,
    ByName,
    ByType,
    NameValue,
    Set,
    Time,
    Whole,
    Wire,
    one_of,
)


class Condition(Wire):
    """One thing that is or was so. The last condition of a list is the state now."""

    type: str
    """What the condition tells of, such as Running or Succeeded."""
    status: Annotated[str, one_of(("True", "False", "Unknown"))]
    """Whether it is so."""
    reason: str | None = None
    """Why, in one word for programs."""
    message: str | None = None
    """Why, in a sentence for people."""
    last_update_time: Time | None = None
    """When the condition was last written."""
    last_transition_time: Time | None = None
    """When its status last changed."""


class ParameterAssignment(NameValue):
    """A parameter with the value that a trial got."""

    name: str | None = None
    """The parameter."""
    value: str | None = None
    """Its value, as text."""


class EarlyStoppingRule(Wire):
    """A trial whose metric keeps the rule is stopped."""

    name: str | None = None
    """The metric."""
    value: str | None = None
    """What the metric is compared with, as text."""
    comparison: Annotated[str, one_of(("equal", "less", "greater"))] | None = None
    """How the metric must compare for the trial to be stopped."""
    start_step: Amount | None = None
    """How many values of the metric must be there before the rule is looked at."""


class Metric(Wire):
    """What was observed of one metric. Values are texts; unavailable: there was none."""

    name: str | None = None
    """The metric."""
    min: str | None = None
    """Its smallest value."""
    max: str | None = None
    """Its largest value."""
    latest: str | None = None
    """Its latest value."""


class Observation(Wire):
    """What was observed of a trial."""

    metrics: ByName[Metric] | None = None
    """The metrics: the objective's and the additional ones."""


class OptimalTrial(Wire):
    """The best trial so far."""

    best_trial_name: str | None = None
    """The trial's name."""
    parameter_assignments: ByName[ParameterAssignment] | None = None
    """The values of its parameters."""
    observation: Observation | None = None
    """What was observed of it."""


class Times(Wire):
    """When a thing began and ended, and what is or was so of it."""

    start_time: Time | None = None
    """When it was taken up."""
    completion_time: Time | None = None
    """When it was over; null while it is not."""
    last_reconcile_time: Time | None = None
    """Never set, as in Katib."""
    conditions: ByType[Condition] | None = None
    """What is or was so. The last one is the state now."""


class ExperimentStatus(Times):
    """How far an experiment is. The lists have the newest 1,000 names; the counters are exact."""

    current_optimal_trial: OptimalTrial | None = None
    """The best trial so far, with its parameters and what was observed."""
    running_trial_list: Set[str] | None = None
    """Names of trials that run."""
    pending_trial_list: Set[str] | None = None
    """Names of trials that are about to start."""
    failed_trial_list: Set[str] | None = None
    """Names of trials that failed."""
    succeeded_trial_list: Set[str] | None = None
    """Names of trials that succeeded."""
    killed_trial_list: Set[str] | None = None
    """Names of trials that were stopped because they were not needed any more."""
    early_stopped_trial_list: Set[str] | None = None
    """Names of trials that a stopping rule ended."""
    metrics_unavailable_trial_list: Set[str] | None = None
    """Names of trials that ended well but told no value of the objective."""
    trials: Amount | None = None
    """Number of all trials."""
    trials_succeeded: Amount | None = None
    """Number of trials that succeeded."""
    trials_failed: Amount | None = None
    """Number of trials that failed."""
    trials_killed: Amount | None = None
    """Number of trials that were stopped because they were not needed any more."""
    trials_pending: Amount | None = None
    """Number of trials that are about to start."""
    trials_running: Amount | None = None
    """Number of trials that run."""
    trials_early_stopped: Amount | None = None
    """Number of trials that a stopping rule ended."""
    trial_metrics_unavailable: Amount | None = None
    """Number of trials that ended well but told no value of the objective. (Katib's name, without
    an s.)"""


class TrialAssignment(Wire):
    """One proposed point, which became a trial."""

    name: str | None = None
    """The trial's name."""
    parameter_assignments: ByName[ParameterAssignment] | None = None
    """The values of its parameters."""
    early_stopping_rules: Whole[EarlyStoppingRule] | None = None
    """Rules by which the trial is stopped early."""
    labels: dict[str, str] | None = None
    """Labels that the algorithm gives the trial."""


class SuggestionStatus(Times):
    """What the algorithm has proposed."""

    algorithm_settings: ByName[NameValue] | None = None
    """Settings that the algorithm gave back; they override the experiment's."""
    suggestion_count: Amount | None = None
    """Number of points that became trials."""
    suggestions: ByName[TrialAssignment] | None = None
    """Those points, the newest 1,000."""


class TrialStatus(Times):
    """How far a trial is."""

    observation: Observation | None = None
    """What was observed of the trial."""
