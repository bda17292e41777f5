"""Composition root of the metrics collector."""

from functools import partial
from importlib import import_module
from typing import Any

from trialbus.contracts import subjects
from trialbus.contracts.collections import CHUNKS
from trialbus.kernel.events import heard_by
from trialbus.kernel.limits import GRPC_START_DELAY_S
from trialbus.runtime.call_metrics import grpc_observer
from trialbus.runtime.parts import Behaviour, Parts, Reactor, Served, ServiceDefinition
from trialbus_metrics_collector.app.appending import Appending
from trialbus_metrics_collector.app.chains import Chains
from trialbus_metrics_collector.app.collecting import Collector
from trialbus_metrics_collector.app.experiments import Experiments
from trialbus_metrics_collector.app.notices import Notices
from trialbus_metrics_collector.app.observation_logs import ObservationLogs
from trialbus_metrics_collector.app.purging import Purge
from trialbus_metrics_collector.app.push_requests import PushRequests
from trialbus_metrics_collector.app.pushes import Pushes
from trialbus_metrics_collector.app.tails import Tails

_NAME = "metrics_collector"


async def build(parts: Parts) -> Behaviour:
    """Answers metric chunks and pushes; removes those of deleted experiments."""
    experiments, tails = Experiments(parts.store), Tails(parts.store)
    notices = Notices(parts.outbox)
    chains = Chains(parts, tails, notices)
    collector = Collector(parts, experiments, chains)
    appending = Appending(parts, experiments, chains)
    pushes = Pushes(parts, appending)
    purge = Purge(parts, experiments, tails)

    serve_grpc = partial(_serve_grpc, parts, pushes, ObservationLogs(parts, tails))

    async def close() -> None:
        await appending.close()
        await notices.flush()

    return Behaviour(
        reactor=Reactor(listens=heard_by(_NAME), react=purge.react, sweep=purge.sweep),
        served=(
            Served(subject=subjects.metrics(), queue=_NAME, respond=collector.respond),
            Served(
                subject=subjects.pushes(), queue=_NAME, respond=PushRequests(parts, pushes).respond
            ),
        ),
        tasks=(notices.run, serve_grpc) if parts.serves_grpc else (notices.run,),
        close=close,
    )


async def _serve_grpc(parts: Parts, pushes: Pushes, logs: ObservationLogs) -> None:
    """Loaded here, in the service's own process: gRPC does not survive a fork."""
    await parts.clock.sleep(GRPC_START_DELAY_S)
    server: Any = import_module("trialbus_metrics_collector.adapters.grpc_server")
    await server.serve(
        pushes,
        logs,
        ready=lambda: parts.bus.connected and parts.store.connected,
        host=parts.settings.host,
        port=parts.settings.grpc_port,
        data_dir=parts.settings.data_dir,
        observe=grpc_observer(parts.telemetry),
        tracing=parts.telemetry.tracing,
    )


service = ServiceDefinition(name=_NAME, owns=(CHUNKS,), build=build)
