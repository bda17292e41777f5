"""What `--observe` says: where to look, or why there is nothing to look at."""

from collections.abc import Iterator
from pathlib import Path

from trialbus.cli.failures import CommandFailed
from trialbus.cli.stacks import going_down, going_up
from trialbus.local.servers.find import Problem
from trialbus.local.servers.prometheus import SETTING, find_prometheus
from trialbus.local.stack_file import StackStatus

# In the repository, not in the wheel.
DASHBOARDS = "deploy/grafana"


def check_observed(status: StackStatus, folder: Path) -> None:
    """Of a stack that ran before it was asked to be observed. Raises CommandFailed."""
    if not status.prometheus and not isinstance(find_prometheus(), Problem):
        lines = ["it runs already, and is not observed; to observe it:"]
        raise CommandFailed([*lines, f"  {going_down(folder)} && {going_up(folder)} --observe"])


def notes_on_observing(
    status: StackStatus, again: str = "trialbus down && trialbus up --observe"
) -> Iterator[str]:
    """status: of a stack that was asked to be observed and is up. again: the command that observes
    it, once what it lacks is there."""
    if status.prometheus:
        yield f"{'prometheus':<13}{status.prometheus}"
    else:
        yield from _why_not(again)
    yield f"{'experiments':<13}{status.http}/prometheus (in Grafana a second Prometheus source)"
    yield f"{'dashboards':<13}{DASHBOARDS} of the repository, for Grafana"


def _why_not(again: str) -> Iterator[str]:
    found = find_prometheus()
    if isinstance(found, Problem):
        yield f"not observed: {found.what}; the stack runs without"
        yield f"  {found.remedy}, then: {again}"
    else:
        yield f"not observed: {found} did not start, see prometheus/prometheus.out and logs/"
        yield f"  of the data folder; another one is named by {SETTING}"
