"""The groups of alerts on the services and their work."""

from making.rules.alerts_of_bus import BUS
from making.rules.alerts_of_disk import DISK
from making.rules.alerts_of_experiments import EXPERIMENTS
from making.rules.alerts_of_gateway import GATEWAY
from making.rules.alerts_of_points import POINTS
from making.rules.alerts_of_services import SERVICES, SLOW
from making.rules.alerts_of_store import STORE
from making.rules.alerts_of_trials import TRIALS
from making.rules.rule import Group

GROUPS: tuple[Group, ...] = (
    SERVICES,
    BUS,
    STORE,
    EXPERIMENTS,
    POINTS,
    TRIALS,
    DISK,
    GATEWAY,
    SLOW,
)
