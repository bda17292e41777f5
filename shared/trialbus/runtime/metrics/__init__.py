"""All metrics of trialbus: the set is closed, and this is it, in a module for each part of it.

Labels never hold names of experiments or trials. Every histogram is in seconds. Latencies between
two services are differences of their clocks; on several machines keep these in step.
"""

from trialbus.runtime.metric import Metric

# In the order in which they are documented: along the path of a trial.
from trialbus.runtime.metrics.of_every_service import *  # noqa: F403
from trialbus.runtime.metrics.of_experiment import *  # noqa: F403
from trialbus.runtime.metrics.of_trials import *  # noqa: F403

# isort: split
from trialbus.runtime.metrics.of_gateway import *  # noqa: F403

# Those that have metrics of their own.
SERVICES = frozenset(
    ["experiment", "suggestion", "trial_launcher", "metrics_collector", "early_stopping", "gateway"]
)
ALL: tuple[Metric, ...] = tuple(it for it in tuple(globals().values()) if isinstance(it, Metric))
