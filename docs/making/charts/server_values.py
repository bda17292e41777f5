"""Values of the charts of NATS and MongoDB, and of the umbrella over all."""

from making.charts.global_values import GLOBAL
from making.charts.schemas import COUNT, FLAG, NAME, QUANTITY, TEXT, TEXTS
from making.charts.service_values import SERVICE_CHARTS
from making.charts.shared_values import (
    ANNOTATIONS,
    DISRUPTIONS,
    SCHEDULING,
    SERVICE_ACCOUNT,
    image_value,
    resources_value,
)
from making.charts.values import Group, Part, Value
from making.charts.watching_values import MONITORING

_GRACE_ABOUT = "Seconds from SIGTERM to SIGKILL of a pod."


def _persistence(size: str) -> Group:
    return Group(
        name="persistence",
        about="Where data is kept.",
        parts=(
            Value(
                name="enabled",
                about="Whether each pod has a claim; else it is lost with the pod.",
                default=True,
                schema=FLAG,
            ),
            Value(name="size", about="Of the claim.", default=size, schema=QUANTITY),
            Value(
                name="storageClass",
                about="Its StorageClass; empty: the cluster's default.",
                default="",
                schema=NAME,
            ),
            Value(
                name="annotations",
                about="Annotations of the claims.",
                default={},
                schema=TEXTS,
            ),
        ),
    )


NATS: tuple[Part, ...] = (
    GLOBAL,
    image_value("trialbus/nats"),
    Value(
        name="serverTlsSecret",
        about="With global.nats.tlsSecret: Secret with the server's `tls.crt`, `tls.key` and "
        "`ca.crt`. The certificate is for `<prefix>-nats` and `*.<prefix>-nats-members`; three "
        "servers also show it to each other.",
        default="",
        schema=NAME,
    ),
    Value(
        name="syncInterval",
        about="When JetStream writes to disk: `always` before it acknowledges, or a duration. The "
        "store is the truth; what is lost here costs time only.",
        default="always",
        schema={"type": "string", "pattern": "^(always|[0-9]+(ms|s|m))$"},
    ),
    Value(
        name="maxFileStore",
        about="Most that JetStream keeps on disk; below the claim's size. At least 256 MiB more "
        "than global.nats.eventBytes.",
        default="4Gi",
        schema={"type": "string", "pattern": "^[0-9]+(Mi|Gi)$"},
    ),
    Value(
        name="maxMemoryStore",
        about="Most that JetStream keeps in memory.",
        default="64Mi",
        schema={"type": "string", "pattern": "^[0-9]+(Mi|Gi)$"},
    ),
    _persistence("5Gi"),
    resources_value({"cpu": "100m", "memory": "128Mi"}, {"cpu": "2", "memory": "1Gi"}),
    Value(
        name="terminationGracePeriodSeconds",
        about=_GRACE_ABOUT,
        default=60,
        schema=COUNT,
    ),
    DISRUPTIONS,
    SERVICE_ACCOUNT,
    *SCHEDULING,
    ANNOTATIONS,
)

MONGODB: tuple[Part, ...] = (
    GLOBAL,
    image_value("trialbus/mongod"),
    Value(
        name="serverTlsSecret",
        about="With global.mongodb.tlsSecret: Secret with the server's certificate and key in one "
        "file, `tls-combined.pem`, and `ca.crt`. The certificate is for "
        "`*.<prefix>-mongodb-members`.",
        default="",
        schema=NAME,
    ),
    Value(
        name="cacheGb",
        about="Cache of WiredTiger in GB: about half of the memory limit.",
        default=0.5,
        schema={"type": "number", "minimum": 0.25},
    ),
    Value(
        name="oplogMb",
        about="Size of the oplog in MB: how long a member may be away and still catch up.",
        default=1024,
        schema={"type": "integer", "minimum": 64},
    ),
    Group(
        name="initiate",
        about="The Job that makes the servers one replica set, and the services' user. It can be "
        "repeated, and is whenever one of its values changes.",
        parts=(
            image_value("trialbus/cli"),
            Value(
                name="again",
                about="Any other text runs it again, for example after a new password.",
                default="",
                schema=TEXT,
            ),
            resources_value({"cpu": "50m", "memory": "64Mi"}, {"cpu": "500m", "memory": "256Mi"}),
        ),
    ),
    _persistence("20Gi"),
    resources_value({"cpu": "250m", "memory": "512Mi"}, {"cpu": "2", "memory": "1Gi"}),
    Value(
        name="terminationGracePeriodSeconds",
        about=_GRACE_ABOUT,
        default=60,
        schema=COUNT,
    ),
    DISRUPTIONS,
    SERVICE_ACCOUNT,
    *SCHEDULING,
    ANNOTATIONS,
)

PARTS = (*(it.name for it in SERVICE_CHARTS), "nats", "mongodb")

UMBRELLA: tuple[Part, ...] = (
    GLOBAL,
    Group(
        name="install",
        about="Which charts are part of this release. What is not may be a release of its own "
        "under the same prefix, or elsewhere.",
        parts=tuple(
            Value(name=name, about=f"The chart {name}.", default=True, schema=FLAG)
            for name in PARTS
        ),
    ),
    Group(
        name="provision",
        about="The Job that makes the streams and queues of the bus: with keys no service may do "
        "that. It can be repeated, and is whenever one of its values changes.",
        parts=(
            Value(name="enabled", about="Whether there is one.", default=True, schema=FLAG),
            image_value("trialbus/cli"),
            Value(
                name="again",
                about="Any other text runs it again.",
                default="",
                schema=TEXT,
            ),
            resources_value({"cpu": "50m", "memory": "64Mi"}, {"cpu": "500m", "memory": "256Mi"}),
        ),
    ),
    MONITORING,
    *(
        Value(
            name=name,
            about=f"Values of the chart {name}: deploy/helm/{name}/values.yaml.",
            default={},
            schema={"type": "object"},
        )
        for name in PARTS
    ),
)
