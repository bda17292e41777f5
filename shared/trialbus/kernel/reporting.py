"""How a program that runs as a trial reports so that its collector hears it."""

from enum import StrEnum

# Told to each trial that a launcher runs.
REPORT_VARIABLE = "TRIALBUS_REPORT_TO"
# The local path of what the collector reads.
METRICS_PATH_VARIABLE = "TRIALBUS_METRICS_PATH"


class ReportTo(StrEnum):
    """STDOUT: `name=value` in a line of output. TEXT: such a line, JSON: an object in a line, each
    added to the file of `TRIALBUS_METRICS_PATH`. PUSH: the verb `report`, over HTTP: what every
    collector's trials may do."""

    STDOUT = "stdout"
    TEXT = "text"
    JSON = "json"
    PUSH = "push"
