"""gRPC inside a service's own event loop: a server that comes and goes, handlers and calls by the
names of Katib's services, and where on this machine a service listens.

Load it on first use, never before a process is forked: gRPC does not survive a fork.
"""

from trialbus.adapters.grpc.addresses import announced, announcing
from trialbus.adapters.grpc.call_metrics import CallObserver
from trialbus.adapters.grpc.calls import CallFailed, call, open_channel
from trialbus.adapters.grpc.failures import Failure, failure_of
from trialbus.adapters.grpc.handlers import (
    CALL_ID,
    PACKAGE,
    call_id,
    call_metadata,
    full_name,
    handlers_of,
)
from trialbus.adapters.grpc.server import serve_announced, serving_grpc

__all__ = [
    "CALL_ID",
    "PACKAGE",
    "CallFailed",
    "CallObserver",
    "Failure",
    "announced",
    "announcing",
    "call",
    "call_id",
    "call_metadata",
    "failure_of",
    "full_name",
    "handlers_of",
    "open_channel",
    "serve_announced",
    "serving_grpc",
]
