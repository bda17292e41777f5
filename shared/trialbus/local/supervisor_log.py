"""The supervisor's own log: one JSON object a line on stderr, as the services write theirs."""

import json
import sys
from datetime import UTC, datetime


def log(event: str, **fields: object) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"event": event, "service": "supervisor", **fields, "timestamp": now}
    sys.stderr.write(json.dumps(line, default=str) + "\n")
    sys.stderr.flush()
