"""All services over the in-memory world."""

from dataclasses import replace
from typing import Protocol

import pytest

from trialbus.ports.launcher import Launcher
from trialbus.runtime.parts import Behaviour, Parts, ServiceDefinition
from trialbus.testkit.scenario import Outcome, Story, simulate
from trialbus_early_stopping.main import service as early_stopping
from trialbus_experiment.main import service as experiment
from trialbus_metrics_collector.main import service as metrics_collector
from trialbus_suggestion.adapters.compute import InlineCompute
from trialbus_suggestion.core.registry import Registry
from trialbus_suggestion.main import compose as compose_suggestion
from trialbus_suggestion.main import service as suggestion
from trialbus_trial_launcher.main import compose
from trialbus_trial_launcher.main import service as trial_launcher

WHOLE = Story()


class Play(Protocol):
    """Plays one seed to its end."""

    def __call__(self, seed: int, story: Story = ...) -> Outcome: ...


async def build_inline(parts: Parts) -> Behaviour:
    return compose_suggestion(parts, InlineCompute(Registry()))


def compose_launcher(parts: Parts, launcher: Launcher, boot: str) -> Behaviour:
    return compose(parts, launcher, host=boot.partition(" ")[0].replace("/", "-"), boot=boot)


@pytest.fixture(scope="session")
def definitions() -> dict[str, ServiceDefinition]:
    inline = replace(suggestion, build=build_inline)
    services = (experiment, inline, trial_launcher, metrics_collector, early_stopping)
    return {it.name: it for it in services}


@pytest.fixture(scope="session")
def play(definitions: dict[str, ServiceDefinition]) -> Play:
    def once(seed: int, story: Story = WHOLE) -> Outcome:
        return simulate(seed, definitions, compose_launcher, story)

    return once
