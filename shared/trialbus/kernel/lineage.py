"""Labels by which people see which trial goes on from which, and why."""

PARENT_LABEL = "trialbus.io/parent"
# Katib's, of its population based training.
PBT_PARENT_LABEL = "pbt.suggestion.katib.kubeflow.org/parent"
GENERATION_LABEL = "pbt.suggestion.katib.kubeflow.org/generation"

MEMBER_LABEL = "trialbus.io/member"
# What the member did to come here: one of the moves below.
MOVE_LABEL = "trialbus.io/move"
# Ranks at that time, as `3-of-5`, 1 is the best: of the member, and of the one that it copied.
RANK_LABEL = "trialbus.io/rank"
PARENT_RANK_LABEL = "trialbus.io/parent-rank"

BEGIN, CONTINUE, EXPLOIT, BEGIN_ANEW = "begin", "continue", "exploit", "begin-anew"


def parent_label(algorithm: str) -> str:
    """The name of the label that holds the name of a trial's parent."""
    return PBT_PARENT_LABEL if algorithm == "pbt" else PARENT_LABEL
