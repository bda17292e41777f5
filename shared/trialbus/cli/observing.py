"""What `trialbus up --observe` says: where to look, or why there is nothing to look at."""

from collections.abc import Iterator

from trialbus.local.servers.find import Problem
from trialbus.local.servers.prometheus import SETTING, find_prometheus
from trialbus.local.stack_file import StackStatus

# In the repository, not in the wheel.
DASHBOARDS = "deploy/grafana"


def is_installed() -> bool:
    return not isinstance(find_prometheus(), Problem)


def notes_on_observing(status: StackStatus) -> Iterator[str]:
    """status: of a stack that was asked to be observed and is up."""
    if status.prometheus:
        yield f"{'prometheus':<13}{status.prometheus}"
    else:
        yield from _why_not()
    yield f"{'experiments':<13}{status.http}/prometheus (in Grafana a second Prometheus source)"
    yield f"{'dashboards':<13}{DASHBOARDS} of the repository, for Grafana"


def _why_not() -> Iterator[str]:
    found = find_prometheus()
    if isinstance(found, Problem):
        yield f"not observed: {found.what}; the stack runs without"
        yield f"  {found.remedy}, then: trialbus down && trialbus up --observe"
    else:
        yield f"not observed: {found} did not start, see prometheus/prometheus.out and logs/"
        yield f"  of the data folder; another one is named by {SETTING}"
