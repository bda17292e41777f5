"""Labels by which people see which trial goes on from which, and why."""

from collections.abc import Collection

PARENT_LABEL = "trialbus.io/parent"
# Katib's, of its population based training.
PBT_PARENT_LABEL = "pbt.suggestion.katib.kubeflow.org/parent"
GENERATION_LABEL = "pbt.suggestion.katib.kubeflow.org/generation"

# Of the algorithms that promote trials to a larger resource.
RUNG_LABEL = "trialbus.io/rung"

MEMBER_LABEL = "trialbus.io/member"
# What the member did to come here: one of the moves below.
MOVE_LABEL = "trialbus.io/move"
# Ranks at that time, as `3-of-5`, 1 is the best: of the member, and of the one that it copied. A
# member without a usable result has none.
RANK_LABEL = "trialbus.io/rank"
PARENT_MEMBER_LABEL = "trialbus.io/parent-member"
PARENT_RANK_LABEL = "trialbus.io/parent-rank"

FAILED_RANK = "failed"
BEGIN, CONTINUE, EXPLOIT, BEGIN_ANEW = "begin", "continue", "exploit", "begin-anew"


def parent_label(labels: Collection[str]) -> str:
    """The label that names the parent of a trial with these labels."""
    return PBT_PARENT_LABEL if GENERATION_LABEL in labels else PARENT_LABEL
