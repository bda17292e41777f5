"""What population based training says to a whole submission. Loaded by every service."""

from collections.abc import Iterator

from trialbus.kernel.catalogue import Submission
from trialbus.kernel.errors import Problem

# As in Katib: of fewer, a share of worst and best says little.
MIN_POPULATION = 5
_REQUIRED = ("n_population", "truncation_threshold")


def check_pbt(submission: Submission) -> Iterator[Problem]:
    missing = [name for name in _REQUIRED if name not in submission.settings]
    if missing:
        yield Problem(
            field="spec.algorithm.algorithmSettings",
            message=f"Required params missing: {', '.join(missing)}",
        )
