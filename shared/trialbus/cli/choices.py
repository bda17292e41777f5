"""Closed sets of words on the command line; light, because `--help` needs them."""

from enum import StrEnum


class Kind(StrEnum):
    EXPERIMENTS = "experiments"
    TRIALS = "trials"
    SUGGESTIONS = "suggestions"


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class Goal(StrEnum):
    """Ended: succeeded or failed."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    ENDED = "Ended"
    DELETED = "Deleted"


class TokenRole(StrEnum):
    """As in kernel/access.py; a test keeps them the same."""

    READER = "reader"
    WRITER = "writer"
    WORKER = "worker"
    ADMIN = "admin"


class FileFormat(StrEnum):
    """Of trials in a file."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
