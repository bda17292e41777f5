"""The collections of the store: who owns each, and the indexes that its queries need."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """`fields` in order. sparse: only documents where the first field exists and is not None."""

    fields: tuple[str, ...]
    unique: bool = False
    sparse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSpec:
    """owner: the service that writes it, "" where each writes its own documents."""

    name: str
    owner: str
    indexes: tuple[Index, ...] = ()


_UNSENT = Index(fields=("outbox_at",), sparse=True)

EXPERIMENTS = CollectionSpec(
    name="experiments",
    owner="experiment",
    indexes=(
        Index(fields=("alive_name",), unique=True, sparse=True),
        Index(fields=("active",)),
        Index(fields=("phase", "completed_at")),
        Index(fields=("namespace", "created_at")),
        Index(fields=("namespace", "name")),
        Index(fields=("name",)),
        Index(fields=("created_at",)),
        _UNSENT,
    ),
)
TRIALS = CollectionSpec(
    name="trials",
    owner="experiment",
    indexes=(
        Index(fields=("uid", "index"), unique=True),
        Index(fields=("uid", "finished")),
        # Lists that people sort and filter.
        Index(fields=("uid", "value", "index")),
        Index(fields=("uid", "phase", "index")),
        Index(fields=("name",)),
        _UNSENT,
    ),
)
WARM_TRIALS = CollectionSpec(name="warm_trials", owner="experiment")
ANSWERS = CollectionSpec(name="answers", owner="suggestion")
RUNS = CollectionSpec(
    name="runs",
    owner="trial_launcher",
    indexes=(
        Index(fields=("ask",), sparse=True),
        Index(fields=("lease_until",), sparse=True),
    ),
)
CHUNKS = CollectionSpec(
    name="chunks",
    owner="metrics_collector",
    indexes=(
        Index(fields=("final_run",), unique=True, sparse=True),
        Index(fields=("push",), unique=True, sparse=True),
    ),
)
EVIDENCE = CollectionSpec(name="evidence", owner="early_stopping")
WEBHOOKS = CollectionSpec(name="webhooks", owner="gateway")
DELIVERIES = CollectionSpec(
    name="deliveries",
    owner="gateway",
    indexes=(
        Index(fields=("waiting", "order"), sparse=True),
        Index(fields=("done_at",), sparse=True),
    ),
)
# Which object of a cluster stands for which experiment, and the gateway that keeps them in step.
RESOURCES = CollectionSpec(
    name="resources", owner="gateway", indexes=(Index(fields=("namespace", "name")),)
)
RESOURCE_KEEPERS = CollectionSpec(name="resource_keepers", owner="gateway")
# Which cluster those objects are of.
RESOURCE_HOMES = CollectionSpec(name="resource_homes", owner="gateway")
# When each service was last alive; each writes its own.
HEARTBEATS = CollectionSpec(name="heartbeats", owner="", indexes=(Index(fields=("service",)),))

COLLECTIONS = (
    EXPERIMENTS,
    TRIALS,
    WARM_TRIALS,
    ANSWERS,
    RUNS,
    CHUNKS,
    EVIDENCE,
    WEBHOOKS,
    DELIVERIES,
    RESOURCES,
    RESOURCE_KEEPERS,
    HEARTBEATS,
    RESOURCE_HOMES,
)
