"""The supervisor's own log: one JSON object a line on stderr, as the services write theirs."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime


def log(event: str, **fields: object) -> None:
    """Never raises for a log that cannot be written."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"event": event, "service": "supervisor", **fields, "timestamp": now}
    with suppress(OSError):  # a full disk: what is told of must go on
        sys.stderr.write(json.dumps(line, default=str) + "\n")
        sys.stderr.flush()
