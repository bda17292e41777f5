"""What finds the points of a shipped stream, by its collector's kind: as beside local runs."""

from functools import lru_cache

from trialbus.kernel.json_metric_lines import JsonMetricReader
from trialbus.kernel.line_streams import LineReader
from trialbus.kernel.metric_lines import LineParser, MetricFilter
from trialbus.kernel.spec import CollectorKind, ExperimentSpec, MetricsFormat
from trialbus_trial_launcher.app.plans import inside
from trialbus_trial_launcher.app.shipping.frames import FrameReader
from trialbus_trial_launcher.app.sources.source import NoLines
from trialbus_trial_launcher.core.shipped_notes import Note


def reader_of(spec: ExperimentSpec, note: Note, start: int) -> LineReader:
    """start: of the piece in the stream, where a line or a frame begins. A collector without what
    its kind needs reads the output, as beside local runs."""
    collector, metrics = spec.metrics_collector, spec.objective.metric_names
    match collector.kind:
        case CollectorKind.TENSORFLOW_EVENT if collector.path is not None:
            return FrameReader(metrics, inside(collector.path), note, start=start)
        case CollectorKind.PROMETHEUS_METRIC if collector.endpoint is not None:
            return NoLines(start=start)
        case CollectorKind.CUSTOM | CollectorKind.PUSH:
            return NoLines(start=start)
        case CollectorKind.FILE if (
            collector.path is not None and collector.path.format is MetricsFormat.JSON
        ):
            return JsonMetricReader(metrics, start=start)
    return LineParser(_compiled(collector.filters), metrics, start=start)


@lru_cache(maxsize=256)
def _compiled(filters: tuple[str, ...]) -> MetricFilter:
    """Every piece needs it anew."""
    return MetricFilter.compile(filters)
