"""Composition root of the suggestion service."""

from functools import partial
from importlib import import_module
from typing import Any

from trialbus.contracts.collections import ANSWERS
from trialbus.kernel.events import heard_by
from trialbus.kernel.limits import GRPC_START_DELAY_S
from trialbus.ports.compute import Compute
from trialbus.runtime.call_metrics import grpc_observer
from trialbus.runtime.catalogue import catalogue_of
from trialbus.runtime.parts import Behaviour, Parts, Reactor, ServiceDefinition
from trialbus_suggestion.adapters.compute import ProcessCompute
from trialbus_suggestion.app.answering import Answering
from trialbus_suggestion.app.outside import OutsideAnswering
from trialbus_suggestion.app.remote import NoRemoteAlgorithms, RemoteAlgorithms
from trialbus_suggestion.app.timing import death_teller, teller
from trialbus_suggestion.core.registry import Registry

# Small groups, so that the first of many experiments do not wait for the last.
_GROUPS = 16
_GROUP_KEYS = 4


async def build(parts: Parts) -> Behaviour:
    catalogue = catalogue_of(parts.settings)
    compute = ProcessCompute(
        Registry(tuple(catalogue.algorithms.values())),
        timeout_s=parts.settings.algorithm_deadline_s,
        processes=parts.settings.algorithm_processes,
        tell=teller(parts.telemetry),
        tell_death=death_teller(parts.telemetry),
    )
    return compose(parts, compute, _remote_algorithms(parts))


def compose(parts: Parts, compute: Compute, remote: RemoteAlgorithms | None = None) -> Behaviour:
    """The service over any place where algorithms compute."""
    catalogue, remote = catalogue_of(parts.settings), remote or NoRemoteAlgorithms()
    answering = Answering(parts, compute, catalogue, remote)
    outside = OutsideAnswering(compute, catalogue, parts.ids)

    async def close() -> None:
        await remote.close()
        await compute.close()

    return Behaviour(
        reactor=Reactor(
            listens=heard_by("suggestion"),
            react=answering.react,
            sweep=answering.sweep,
            max_groups=_GROUPS,
            max_group_keys=_GROUP_KEYS,
        ),
        tasks=(partial(_serve_grpc, parts, outside),) if parts.serves_grpc else (),
        close=close,
    )


def _remote_algorithms(parts: Parts) -> RemoteAlgorithms:
    """Loaded when there are any, in the service's own process: gRPC does not survive a fork."""
    if not parts.settings.remote_algorithms:
        return NoRemoteAlgorithms()
    adapter: Any = import_module("trialbus_suggestion.adapters.remote")
    remote: RemoteAlgorithms = adapter.GrpcAlgorithms(parts.settings.remote_algorithms)
    return remote


async def _serve_grpc(parts: Parts, outside: OutsideAnswering) -> None:
    """As above."""
    await parts.clock.sleep(GRPC_START_DELAY_S)
    server: Any = import_module("trialbus_suggestion.adapters.suggestion_server")
    await server.serve(
        outside,
        ready=lambda: parts.bus.connected and parts.store.connected,
        host=parts.settings.host,
        port=parts.settings.grpc_port,
        data_dir=parts.settings.data_dir,
        observe=grpc_observer(parts.telemetry),
        tracing=parts.telemetry.tracing,
    )


service = ServiceDefinition(name="suggestion", owns=(ANSWERS,), build=build)
