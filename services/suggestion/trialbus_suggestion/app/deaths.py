"""What processes that algorithms compute in die of. Loaded in these, too, so it loads nothing."""

from collections.abc import Callable
from typing import Literal

# As the label of the metric has it.
Death = Literal["killed", "crashed", "stuck", "slow", "unstarted"]
# Told in any thread.
TellDeath = Callable[[Death], None]


def ignore_death(_: Death) -> None:
    """For who has no metrics."""
