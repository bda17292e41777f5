"""Where trials reach the gateway: as the settings say, or as that of the same data folder has
written down."""

import json
from pathlib import Path


def gateway_grpc(data_dir: Path, given: str = "") -> str | None:
    """host:port of Katib's gRPC API; None: the gateway is not there (yet)."""
    return given or _said(data_dir, "grpc")


def gateway_http(data_dir: Path, given: str = "") -> str | None:
    """http(s)://host:port of its HTTP API; None as above."""
    return given or _said(data_dir, "http")


def _said(data_dir: Path, which: str) -> str | None:
    try:
        said = json.loads((data_dir / "run" / "gateway.json").read_text(encoding="utf-8"))
        return str(said[which])
    except (OSError, ValueError, KeyError, TypeError):
        return None
