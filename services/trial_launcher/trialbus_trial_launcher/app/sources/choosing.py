"""The source of a run's metrics, by its collector's kind."""

import importlib
import json
from typing import assert_never

from trialbus.kernel.experiment import Experiment
from trialbus.kernel.spec import CollectorKind, TrialTemplate
from trialbus.ports.launcher import Launcher
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.sources.custom import CustomSource, PushSource
from trialbus_trial_launcher.app.sources.events import EventsSource, Scalars
from trialbus_trial_launcher.app.sources.files import FileSource, OutputSource
from trialbus_trial_launcher.app.sources.means import Means
from trialbus_trial_launcher.app.sources.scraping import PORT_VARIABLE, ScrapeSource
from trialbus_trial_launcher.app.sources.source import Source, Watched


def source_of(
    state: Experiment, run_id: str, launcher: Launcher, parts: Parts, means: Means
) -> Source:
    """Where the points of a run come from. A collector without what its kind needs (an experiment
    is checked for that before it is created) is followed by its output."""
    collector = state.spec.metrics_collector
    watched = Watched(
        launcher=launcher, run_id=run_id, objective=state.spec.objective, collector=collector
    )
    match collector.kind:
        case CollectorKind.FILE if collector.path is not None:
            return FileSource(watched, collector.path)
        case CollectorKind.TENSORFLOW_EVENT if collector.path is not None:
            return EventsSource(watched, collector.path, _decode)
        case CollectorKind.PROMETHEUS_METRIC if collector.endpoint is not None:
            return ScrapeSource(
                watched,
                collector.endpoint,
                own_port=mentions_port(state.spec.template),
                get=means.get,
                clock=parts.clock,
                interval_s=parts.settings.scrape_interval_s,
            )
        case CollectorKind.CUSTOM:
            return CustomSource(watched, clock=parts.clock, grace_s=parts.settings.kill_grace_s)
        case CollectorKind.PUSH:
            return PushSource(watched)
        case (
            CollectorKind.STDOUT
            | CollectorKind.FILE
            | CollectorKind.TENSORFLOW_EVENT
            | CollectorKind.PROMETHEUS_METRIC
        ):
            return OutputSource(watched)
        case _:
            assert_never(collector.kind)


def mentions_port(template: TrialTemplate | None) -> bool:
    """Whether the trial listens where it is told; if not, it does where the spec says."""
    return template is not None and PORT_VARIABLE in json.dumps(template.trial_spec, default=str)


def _decode(data: bytes) -> Scalars | None:
    """TensorFlow's messages load slowly, and only few experiments need them."""
    module = importlib.import_module("trialbus_trial_launcher.app.sources.event_scalars")
    decoded: Scalars | None = module.scalars_of(data)
    return decoded
