"""The life cycle of an experiment: this table and nothing else says which changes are legal.

Rules
1. Terminal phases absorb: SUCCEEDED and FAILED leave only by `restarted` (a larger budget, where
   the resume policy allows it) and `delete_asked`; ARCHIVED only to DELETED; DELETED never.
2. The verdict comes before the end: ENDING waits until no trial is open and every trial document
   is written, so that a finished experiment is complete when it says so. A verdict of the budget
   alone is taken back by a larger budget.
3. Only CREATED and RUNNING open trials.
"""

from collections.abc import Mapping
from enum import Enum

from trialbus.kernel.errors import InvariantBroken
from trialbus.kernel.experiment import ExperimentPhase as Phase


class Happening(Enum):
    """What changes an experiment's phase."""

    TRIALS_OPENED = "trials opened"
    SUSPEND_ASKED = "suspend asked"
    RESUME_ASKED = "resume asked"
    VERDICT_REACHED = "verdict reached"
    SUCCESS_COMPLETE = "success complete"
    FAILURE_COMPLETE = "failure complete"
    RESTARTED = "restarted"
    DELETE_ASKED = "delete asked"
    DELETION_COMPLETE = "deletion complete"
    HISTORY_KEPT = "history kept"
    HISTORY_EXPIRED = "history expired"


_H = Happening
TRANSITIONS: Mapping[Phase, Mapping[Happening, Phase]] = {
    Phase.CREATED: {
        _H.TRIALS_OPENED: Phase.RUNNING,
        _H.SUSPEND_ASKED: Phase.SUSPENDED,
        _H.VERDICT_REACHED: Phase.ENDING,
        _H.DELETE_ASKED: Phase.DELETING,
    },
    Phase.RUNNING: {
        _H.TRIALS_OPENED: Phase.RUNNING,
        _H.SUSPEND_ASKED: Phase.SUSPENDED,
        _H.VERDICT_REACHED: Phase.ENDING,
        _H.DELETE_ASKED: Phase.DELETING,
    },
    Phase.SUSPENDED: {
        _H.RESUME_ASKED: Phase.RUNNING,
        _H.VERDICT_REACHED: Phase.ENDING,
        _H.DELETE_ASKED: Phase.DELETING,
    },
    Phase.ENDING: {
        _H.SUCCESS_COMPLETE: Phase.SUCCEEDED,
        _H.FAILURE_COMPLETE: Phase.FAILED,
        _H.RESTARTED: Phase.RUNNING,
        _H.DELETE_ASKED: Phase.DELETING,
    },
    Phase.SUCCEEDED: {
        _H.RESTARTED: Phase.RUNNING,
        _H.DELETE_ASKED: Phase.DELETING,
    },
    Phase.FAILED: {
        _H.DELETE_ASKED: Phase.DELETING,
    },
    Phase.DELETING: {
        _H.DELETION_COMPLETE: Phase.DELETED,
        _H.HISTORY_KEPT: Phase.ARCHIVED,
    },
    Phase.ARCHIVED: {
        _H.HISTORY_EXPIRED: Phase.DELETED,
    },
    Phase.DELETED: {},
}


def after(phase: Phase, happening: Happening) -> Phase:
    """The phase that follows. Raises InvariantBroken for a change that the table forbids."""
    following = TRANSITIONS[phase].get(happening)
    if following is None:
        raise InvariantBroken(f"an experiment that is {phase.value} cannot take: {happening.value}")
    return following
