"""Where the gateway listens, written down for the processes of the same stack."""

import json
import os
from pathlib import Path


def announce(
    data_dir: Path, *, host: str, http_port: int, grpc_port: int, scheme: str = "http"
) -> Path:
    """`<data_dir>/run/gateway.json`, whole or not there at all. scheme: of the HTTP API."""
    folder = data_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    shown = f"[{host}]" if ":" in host else host
    addresses = {"http": f"{scheme}://{shown}:{http_port}", "grpc": f"{shown}:{grpc_port}"}
    written = folder / f"gateway.json.{os.getpid()}"
    written.write_text(json.dumps(addresses) + "\n", encoding="utf-8")
    return written.replace(folder / "gateway.json")
