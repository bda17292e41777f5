"""Which folders of an experiment's trials may go."""

from collections.abc import Collection, Iterable

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.spec import ResumePolicy
from trialbus.kernel.suggestion import LookAhead


def has_no_heirs(state: Experiment) -> bool:
    """Whether its algorithm draws points before it knows what trials come to: then none can go on
    from another."""
    return state.look_ahead in (LookAhead.FREE, LookAhead.PENDING)


def prunes_now(state: Experiment) -> bool:
    """Where trials go on from others, nobody knows before the end from which; and what may be
    restarted has no end."""
    if state.spec.keep_best is None:
        return False
    if has_no_heirs(state):
        return True
    return state.ended and state.spec.resume_policy is ResumePolicy.NEVER


def removable(state: Experiment, names: Iterable[str], best: Collection[int]) -> list[str]:
    """Of the names of folders those of trials that have ended, that are written down, and that are
    none of the best. What is called otherwise is not ours."""
    gone = []
    for name in names:
        if not (name.isascii() and name.isdigit()) or name != str(int(name)):
            continue
        is_known = int(name) < state.next_index
        if is_known and name not in state.open and name not in state.closing:
            gone.append(name)
    return [name for name in gone if int(name) not in best]
