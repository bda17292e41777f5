"""Trialbus: the Python client. What is here loads when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialbus.client.asked import AskedTrial as AskedTrial
    from trialbus.client.async_asked import AsyncAskedTrial as AsyncAskedTrial
    from trialbus.client.async_client import AsyncClient as AsyncClient
    from trialbus.client.client import Client as Client
    from trialbus.client.events import Event as Event
    from trialbus.client.failures import Conflict as Conflict
    from trialbus.client.failures import ExperimentOver as ExperimentOver
    from trialbus.client.failures import LeaseLost as LeaseLost
    from trialbus.client.failures import NothingTold as NothingTold
    from trialbus.client.failures import NotInATrial as NotInATrial
    from trialbus.client.failures import NotThere as NotThere
    from trialbus.client.failures import Refused as Refused
    from trialbus.client.failures import ServerFailed as ServerFailed
    from trialbus.client.failures import TimedOut as TimedOut
    from trialbus.client.failures import TrialbusError as TrialbusError
    from trialbus.client.failures import TuneFailed as TuneFailed
    from trialbus.client.failures import Unauthorised as Unauthorised
    from trialbus.client.failures import Unavailable as Unavailable
    from trialbus.client.records import Applied as Applied
    from trialbus.client.records import Best as Best
    from trialbus.client.records import Observed as Observed
    from trialbus.client.records import Series as Series
    from trialbus.client.records import Trial as Trial
    from trialbus.client.reporting import checkpoint_dir as checkpoint_dir
    from trialbus.client.reporting import report_metrics as report_metrics
    from trialbus.client.reporting import should_stop as should_stop
    from trialbus.client.results import Result as Result
    from trialbus.client.results import TunedTrial as TunedTrial
    from trialbus.client.space import choice as choice
    from trialbus.client.space import integer as integer
    from trialbus.client.space import log as log
    from trialbus.client.space import uniform as uniform
    from trialbus.client.tuning import tune as tune
    from trialbus.contracts.progress import Progress as Progress

# Name -> the module that has it.
_PLACES = {
    "Applied": "trialbus.client.records",
    "AskedTrial": "trialbus.client.asked",
    "AsyncAskedTrial": "trialbus.client.async_asked",
    "AsyncClient": "trialbus.client.async_client",
    "Best": "trialbus.client.records",
    "Client": "trialbus.client.client",
    "Conflict": "trialbus.client.failures",
    "Event": "trialbus.client.events",
    "ExperimentOver": "trialbus.client.failures",
    "LeaseLost": "trialbus.client.failures",
    "NotInATrial": "trialbus.client.failures",
    "NotThere": "trialbus.client.failures",
    "NothingTold": "trialbus.client.failures",
    "Observed": "trialbus.client.records",
    "Progress": "trialbus.contracts.progress",
    "Result": "trialbus.client.results",
    "TunedTrial": "trialbus.client.results",
    "checkpoint_dir": "trialbus.client.reporting",
    "choice": "trialbus.client.space",
    "integer": "trialbus.client.space",
    "log": "trialbus.client.space",
    "report_metrics": "trialbus.client.reporting",
    "should_stop": "trialbus.client.reporting",
    "tune": "trialbus.client.tuning",
    "uniform": "trialbus.client.space",
    "Refused": "trialbus.client.failures",
    "Series": "trialbus.client.records",
    "ServerFailed": "trialbus.client.failures",
    "TimedOut": "trialbus.client.failures",
    "Trial": "trialbus.client.records",
    "TrialbusError": "trialbus.client.failures",
    "TuneFailed": "trialbus.client.failures",
    "Unauthorised": "trialbus.client.failures",
    "Unavailable": "trialbus.client.failures",
}
__all__ = sorted(_PLACES)  # noqa: PLE0605 - the same names, once


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'trialbus' has no attribute {name!r}")
    value = getattr(import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *globals()]
