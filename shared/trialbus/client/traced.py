"""The trace that the caller is in, as a gateway is told of it. Loads nothing that is not loaded."""

import os
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from trialbus.client.current import CURRENT
from trialbus.kernel.limits import TRACED_CHUNKS
from trialbus.kernel.traces import parse_traceparent

HEADER = "traceparent"
VARIABLE = "TRACEPARENT"
# Of trials that a process has had; beyond, it begins to count anew.
_MOST_TRIALS = 1000
_told: Counter[str] = Counter()


def with_trace(headers: Mapping[str, str]) -> Mapping[str, str]:
    """With the caller's `traceparent`, unless they have one."""
    if HEADER in headers:
        return headers
    found = traceparent()
    return headers if found is None else {**headers, HEADER: found}


def traceparent() -> str | None:
    """Of OpenTelemetry's current span, where the caller has loaded that; else of the trial that it
    works on, asked for or as its environment says. A trial that reports on and on does so for its
    first words only."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            flags = int(context.trace_flags)
            return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    asked = CURRENT.get()
    found = asked.traceparent if asked is not None else os.environ.get(VARIABLE)
    if not found or parse_traceparent(found) is None:
        return None
    if len(_told) > _MOST_TRIALS:
        _told.clear()
    _told[found] += 1
    return found if _told[found] <= TRACED_CHUNKS else None
