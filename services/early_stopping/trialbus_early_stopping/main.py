"""Composition root of the stopping service."""

from functools import partial
from importlib import import_module
from typing import Any

from trialbus.contracts.collections import EVIDENCE
from trialbus.kernel.events import heard_by
from trialbus.kernel.limits import GRPC_START_DELAY_S, RULE_DEADLINE_S
from trialbus.runtime.call_metrics import grpc_observer
from trialbus.runtime.catalogue import catalogue_of
from trialbus.runtime.parts import Behaviour, Parts, Reactor, ServiceDefinition
from trialbus_early_stopping.adapters.time_limit import time_limit
from trialbus_early_stopping.app.asked_stops import AskedStops
from trialbus_early_stopping.app.fixed_rules import FixedRules
from trialbus_early_stopping.app.reacting import StoppingReactor
from trialbus_early_stopping.core.registry import Registry

_NAME = "early_stopping"


async def build(parts: Parts) -> Behaviour:
    """Judges running trials at each of their reports, and stops those that others have judged."""
    rules = Registry(catalogue_of(parts.settings).stopping_rules.values())
    reactor = StoppingReactor(parts, rules, time_limit(RULE_DEADLINE_S))
    return Behaviour(
        reactor=Reactor(listens=heard_by(_NAME), react=reactor.react, sweep=reactor.sweep),
        tasks=(partial(_serve_grpc, parts, rules),) if parts.serves_grpc else (),
    )


async def _serve_grpc(parts: Parts, rules: Registry) -> None:
    """Loaded here, in the service's own process: gRPC does not survive a fork."""
    await parts.clock.sleep(GRPC_START_DELAY_S)
    server: Any = import_module("trialbus_early_stopping.adapters.early_stopping")
    await server.serve(
        FixedRules(parts.store, rules),
        AskedStops(parts),
        ready=lambda: parts.bus.connected and parts.store.connected,
        host=parts.settings.host,
        port=parts.settings.grpc_port,
        data_dir=parts.settings.data_dir,
        observe=grpc_observer(parts.telemetry),
        tracing=parts.telemetry.tracing,
    )


service = ServiceDefinition(name=_NAME, owns=(EVIDENCE,), build=build)
