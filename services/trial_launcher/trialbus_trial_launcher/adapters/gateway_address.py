"""Where the gateway of the same data folder listens, as it has written down."""

import json
from pathlib import Path


def gateway_grpc(data_dir: Path) -> str | None:
    """host:port of Katib's gRPC API; None: the gateway is not there (yet)."""
    try:
        said = json.loads((data_dir / "run" / "gateway.json").read_text(encoding="utf-8"))
        return str(said["grpc"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
