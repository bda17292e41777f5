"""The span that a task is in, for those that have no tracing at hand."""

import sys
from typing import Any


def current_ids() -> tuple[str, str] | None:
    """Trace and span id, hexadecimal; None outside of any kept span. Loads nothing."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"
