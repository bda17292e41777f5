"""Values of a whole installation, the same in every chart."""

from making.charts.schemas import (
    COUNT,
    FLAG,
    NAME,
    NAMESPACE,
    PEERS,
    PORT,
    SECRET_KEY,
    TEXT,
    TEXTS,
    choice,
    listed,
)
from making.charts.settings import settings_schema
from making.charts.values import Group, Value
from making.charts.watching_values import SERVICE_MONITOR, TRACING, TRACING_PEERS

# As deploy/docker makes the images.
_USER = 65532

_IMAGES = Group(
    name="image",
    about="What all images have in common.",
    parts=(
        Value(
            name="registry",
            about="Comes before every repository, such as `registry.example.com`; empty: nothing.",
            default="",
            schema=TEXT,
        ),
        Value(
            name="tag",
            about="Of the services' images; empty: the version of the chart (appVersion).",
            default="",
            schema={"type": "string", "not": {"const": "latest"}},
        ),
        Value(
            name="pullPolicy",
            about="When a node fetches an image.",
            default="IfNotPresent",
            schema=choice("IfNotPresent", "Always", "Never"),
        ),
        Value(
            name="pullSecrets",
            about="Names of Secrets with credentials of the registry.",
            default=[],
            schema=listed(NAME),
        ),
    ),
)

_NATS = Group(
    name="nats",
    about="The event bus.",
    parts=(
        Value(
            name="url",
            about="Address of a nats-server elsewhere; empty: that of the chart `nats` under the "
            "same prefix.",
            default="",
            schema=TEXT,
        ),
        Value(
            name="members",
            about="Servers of the chart `nats`: one or three. Streams are kept on so many, also of "
            "a NATS elsewhere.",
            default=1,
            schema={"type": "integer", "enum": [1, 3]},
        ),
        Value(
            name="eventBytes",
            about="Bytes of events that the bus keeps on disk for those who come later; when they "
            "are full, the oldest go. The bus needs 256 MiB beside them (`nats.maxFileStore`).",
            default=1024**3,
            schema={"type": "integer", "minimum": 16 * 1024**2},
        ),
        Value(
            name="keysSecret",
            about="Secret with the folder that `trialbus auth nats --out auth` makes: the key of "
            "each service (`gateway.seed`, ...) and `accounts.conf`. Empty: anybody who reaches "
            "the server may say and hear everything.",
            default="trialbus-nats",
            schema=NAME,
        ),
        Value(
            name="tlsSecret",
            about="Secret for the services' TLS to NATS: `ca.crt`, and with verifyClients "
            "`tls.crt` and `tls.key`. Empty: no TLS.",
            default="",
            schema=NAME,
        ),
        Value(
            name="verifyClients",
            about="With TLS, whether NATS asks its clients for certificates.",
            default=True,
            schema=FLAG,
        ),
    ),
)

_MONGODB = Group(
    name="mongodb",
    about="The store.",
    parts=(
        Value(
            name="urlSecret",
            about="Secret and key with the connection string of a MongoDB elsewhere (a replica "
            "set); without a name: the chart `mongodb` under the same prefix.",
            default={"name": "", "key": "url"},
            schema=SECRET_KEY,
        ),
        Value(
            name="members",
            about="Members of the replica set of the chart `mongodb`: one or three.",
            default=1,
            schema={"type": "integer", "enum": [1, 3]},
        ),
        Value(
            name="authSecret",
            about="Secret with `password` (letters, digits, `-` and `_`: it becomes part of an "
            "address) and `keyfile` (what members know each other by) of the chart `mongodb`. "
            "Empty: no passwords.",
            default="trialbus-mongodb",
            schema=NAME,
        ),
        Value(
            name="tlsSecret",
            about="Secret with the `ca.crt` that the services check MongoDB's certificate by. "
            "Empty: no TLS.",
            default="",
            schema=NAME,
        ),
        Value(
            name="database",
            about="Name of the database.",
            default="trialbus",
            schema={"type": "string", "pattern": "^[A-Za-z0-9_-]{1,63}$"},
        ),
    ),
)

_GATEWAY = Group(
    name="gateway",
    about="The gateway as others reach it.",
    parts=(
        Value(
            name="tlsSecret",
            about="Secret with `tls.crt` and `tls.key` that the HTTP API is served with. Empty: "
            "plain HTTP, which the wrapper in trials' pods speaks alone.",
            default="",
            schema=NAME,
        ),
        Value(
            name="trialUrl",
            about="Address of the HTTP API as trials reach it; empty: that of its Service. With "
            "the wrapper http:// alone.",
            default="",
            schema=TEXT,
        ),
        Value(
            name="trialGrpc",
            about="Address of the gRPC API as trials reach it, HOST:PORT; empty: that of its "
            "Service.",
            default="",
            schema=TEXT,
        ),
        Value(
            name="trialKeySecret",
            about="Secret and key with what gateway and launchers make trials' tokens with.",
            default={"name": "trialbus-access", "key": "trial.key"},
            schema=SECRET_KEY,
        ),
    ),
)

_NETWORK_POLICY = Group(
    name="networkPolicy",
    about="What may talk to what. Nothing else may, where the cluster's network enforces it.",
    parts=(
        Value(name="enabled", about="Whether there are policies.", default=True, schema=FLAG),
        Value(
            name="dns",
            about="Where names are looked up, port 53.",
            default=[
                {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
            ],
            schema=PEERS,
        ),
        Value(
            name="apiServer",
            about="The API server's addresses; empty: any, on its ports.",
            default=[],
            schema=PEERS,
        ),
        Value(
            name="apiServerPorts",
            about="Ports of the API server, before and behind its Service.",
            default=[443, 6443],
            schema=listed(PORT),
        ),
        Value(
            name="monitoring",
            about="Who may read /metrics of the health ports.",
            default=[
                {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}
                    }
                }
            ],
            schema=PEERS,
        ),
        Value(
            name="externalNats",
            about="Where a NATS elsewhere is; empty: anywhere, on port 4222.",
            default=[],
            schema=PEERS,
        ),
        Value(
            name="externalMongodb",
            about="Where a MongoDB elsewhere is; empty: anywhere, on port 27017.",
            default=[],
            schema=PEERS,
        ),
        TRACING_PEERS,
    ),
)

_SECURITY = Group(
    name="security",
    about="Who the processes are. The rest is fixed: the restricted Pod Security Standard and a "
    "read-only root.",
    parts=(
        Value(
            name="runAsUser",
            about="User; 0: the cluster chooses (OpenShift), never root.",
            default=_USER,
            schema=COUNT,
        ),
        Value(
            name="runAsGroup",
            about="Group; 0: the cluster chooses.",
            default=_USER,
            schema=COUNT,
        ),
        Value(
            name="fsGroup",
            about="Group of mounted files; 0: the cluster chooses.",
            default=_USER,
            schema=COUNT,
        ),
    ),
)

GLOBAL = Group(
    name="global",
    about="What all charts of one installation share: the same in each of them.",
    parts=(
        Value(
            name="prefix",
            about="Names begin with it, and services find each other by it; empty: the release's "
            "name. Releases of single charts that belong together have the same.",
            default="",
            schema={
                "type": "string",
                "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
                "maxLength": 40,
            },
        ),
        Value(
            name="instance",
            about="Label of every object of a trial, one for each installation on a cluster; "
            "empty: prefix and namespace.",
            default="",
            schema={
                "type": "string",
                "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
                "maxLength": 63,
            },
        ),
        Value(
            name="namespaces",
            about="Namespaces whose experiments run here, each with a Role; they must be there. "
            "Empty: all, with a ClusterRole.",
            default=[],
            schema={**listed(NAMESPACE), "uniqueItems": True},
        ),
        Value(
            name="labels",
            about="More labels of every object.",
            default={},
            schema=TEXTS,
        ),
        Value(
            name="listenOn",
            about="Address that servers listen on; `::` where pods have IPv6 only.",
            default="0.0.0.0",
            schema=TEXT,
        ),
        _IMAGES,
        _NATS,
        _MONGODB,
        _GATEWAY,
        Value(
            name="settings",
            about="Settings of all services by name, such as `log_level: debug`: "
            "docs/reference/settings.md, without those that other values stand for.",
            default={},
            schema=settings_schema(),
        ),
        SERVICE_MONITOR,
        TRACING,
        _NETWORK_POLICY,
        _SECURITY,
    ),
)
