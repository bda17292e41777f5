"""Logs of a service process: one JSON object a line on stderr, ours and the libraries', each with
the ids of the span that it was written in, and without secrets."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from trialbus.adapters.opentelemetry import current_ids
from trialbus.kernel.told_secrets import clean_fields, clean_other

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def log_as_json(level: str) -> None:
    """Set structlog and the standard library's logging up for this process."""
    threshold = _LEVELS.get(level.lower(), logging.INFO)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _with_span,
        _without_secrets,
    ]
    renderer = structlog.processors.JSONRenderer(default=clean_other)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


_Line = MutableMapping[str, Any]


def _with_span(_logger: Any, _method: str, line: _Line) -> _Line:
    ids = current_ids()
    # A line may be of another span than the current one, as that of one trial of many.
    if ids is not None and "trace_id" not in line:
        line["trace_id"], line["span_id"] = ids
    return line


def _without_secrets(_logger: Any, _method: str, line: _Line) -> _Line:
    # What structlog hands from step to step (the record, for one) begins with an underscore.
    own = {name: value for name, value in line.items() if name.startswith("_")}
    said = {name: value for name, value in line.items() if name not in own}
    return clean_fields(said) | own
