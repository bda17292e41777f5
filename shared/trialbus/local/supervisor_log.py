"""The supervisor's own log: one JSON object a line on stderr, as the services write theirs."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime

from trialbus.kernel.told_secrets import clean_fields, clean_other


def log(event: str, **fields: object) -> None:
    """Never raises for a log that cannot be written."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"event": event, "service": "supervisor", **fields, "timestamp": now}
    said = json.dumps(clean_fields(line), default=clean_other)
    with suppress(OSError):  # a full disk: what is told of must go on
        sys.stderr.write(said + "\n")
        sys.stderr.flush()
