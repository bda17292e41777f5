"""The gRPC port of the metrics collector."""

from collections.abc import Callable
from pathlib import Path

from trialbus.adapters.grpc import CallObserver, full_name, serve_announced
from trialbus.ports.tracing import Tracing
from trialbus_metrics_collector.adapters.observation_calls import DBManager
from trialbus_metrics_collector.app.observation_logs import ObservationLogs
from trialbus_metrics_collector.app.pushes import Pushes


async def serve(
    pushes: Pushes,
    logs: ObservationLogs,
    *,
    ready: Callable[[], bool],
    host: str,
    port: int,
    data_dir: Path,
    observe: CallObserver | None = None,
    tracing: Tracing | None = None,
) -> None:
    """For ever. Raises OSError when the address cannot be had."""
    await serve_announced(
        "metrics_collector",
        [DBManager(pushes, logs).handlers()],
        ready=ready,
        host=host,
        port=port,
        data_dir=data_dir,
        names=[full_name("DBManager")],
        observe=observe,
        tracing=tracing,
    )
