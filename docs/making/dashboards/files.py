"""The generated files of deploy/grafana -> their texts."""

from pathlib import Path

from making.dashboards.algorithms import ALGORITHMS
from making.dashboards.capacity import CAPACITY
from making.dashboards.experiment import EXPERIMENT
from making.dashboards.grafana import dashboard_text
from making.dashboards.overview import OVERVIEW

DASHBOARDS = Path(__file__).resolve().parents[3] / "deploy/grafana"
BOARDS = (OVERVIEW, EXPERIMENT, ALGORITHMS, CAPACITY)


def dashboard_files() -> dict[Path, str]:
    return {DASHBOARDS / f"{board.uid}.json": dashboard_text(board) for board in BOARDS}
