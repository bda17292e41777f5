"""What a service counts and logs. The set of metric names is closed: this file."""

from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)


class Logger(Protocol):
    """The part of a structlog logger that services use."""

    def debug(self, event: str, **fields: object) -> None: ...

    def info(self, event: str, **fields: object) -> None: ...

    def warning(self, event: str, **fields: object) -> None: ...

    def error(self, event: str, **fields: object) -> None: ...


class Telemetry:
    """Counters of one service process, in a registry of its own (so that many services can live
    in one process), and its log."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.log: Logger = structlog.get_logger().bind(service=service)
        self.groups = Histogram(
            "trialbus_group_handling_seconds",
            "From taking a group of hints to its commit.",
            registry=self.registry,
            buckets=_LATENCY_BUCKETS_S,
        )
        self.hints = Counter(
            "trialbus_hints_total",
            "Hints handled.",
            ["source"],
            registry=self.registry,
        )
        self.failures = Counter(
            "trialbus_handling_failures_total",
            "Experiments whose handling failed and is tried again.",
            ["error"],
            registry=self.registry,
        )
        self.conflicts = Counter(
            "trialbus_commit_conflicts_total",
            "Lost compare-and-set races.",
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "trialbus_dead_letters_total",
            "Messages that can never be handled.",
            registry=self.registry,
        )
        self.stale = Counter(
            "trialbus_stale_messages_total",
            "Words of older attempts or deleted experiments, dropped.",
            registry=self.registry,
        )
        self.published = Counter(
            "trialbus_events_published_total",
            "Events that the stream has.",
            registry=self.registry,
        )
        self.webhook_attempts = Counter(
            "trialbus_webhook_attempts_total",
            "Attempts to deliver an event to a webhook, and events given up.",
            ["outcome"],
            registry=self.registry,
        )
        self.unsent = Gauge(
            "trialbus_outbox_events",
            "Events that wait for the stream in this process.",
            registry=self.registry,
        )
