"""All services over the in-memory world."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from trialbus.ports.launcher import Launcher
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition
from trialbus.testkit import law_probes
from trialbus.testkit.law_probes import InSteadyState, Play
from trialbus.testkit.scenario import Machine, Outcome, Story, simulate
from trialbus.testkit.world import World
from trialbus_early_stopping.main import service as early_stopping
from trialbus_experiment.main import service as experiment
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_suggestion.adapters.compute import InlineCompute
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.main import compose as compose_suggestion
from trialbus_suggestion.main import service as suggestion
from trialbus_trial_launcher.main import compose
from trialbus_trial_launcher.main import service as trial_launcher

T = TypeVar("T")

WHOLE = Story()


async def build_inline(parts: Parts) -> Behaviour:
    return compose_suggestion(parts, InlineCompute(Registry()))


def compose_launcher(parts: Parts, launcher: Launcher, boot: str) -> Behaviour:
    host = boot.partition(" ")[0].replace("/", "-")
    return compose(parts, launcher, host=host, boot=boot)


def definitions(without: str) -> dict[str, ServiceDefinition]:
    inline = replace(suggestion, build=build_inline)
    services = (experiment, inline, trial_launcher, metrics_collector, early_stopping)
    return {it.name: it for it in services if it.name != without}


def once(seed: int, story: Story = WHOLE, *, without: str = "") -> Outcome:
    return simulate(seed, definitions(without), compose_launcher, story)


@pytest.fixture(scope="session")
def play() -> Play:
    return once


@pytest.fixture(scope="session")
def in_steady_state() -> InSteadyState:
    def once(
        act: Callable[[World, list[Machine]], Awaitable[T]],
        *,
        without: str = "",
        story: Story = law_probes.STEADY,
    ) -> T:
        return law_probes.in_steady_state(definitions(without), compose_launcher, act, story)

    return once
