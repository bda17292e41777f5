"""JSON schemas that values of several charts share. Objects are closed, but for maps of names."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SOME: Schema = {"type": "integer", "minimum": 1}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
# Names of Secrets and namespaces; empty where there is none.
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
NAMESPACE: Schema = {"type": "string", "pattern": f"^{_LABEL}$", "maxLength": 63}
NAME: Schema = {"type": "string", "pattern": f"^({_LABEL}(\\.{_LABEL})*)?$", "maxLength": 253}
KEY: Schema = {"type": "string", "pattern": "^[-._a-zA-Z0-9]+$"}
# Numbers, too: YAML makes them of `cpu: 1`.
QUANTITY: Schema = {
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def closed(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> Schema:
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    return schema | ({"required": list(required)} if required else {})


def listed(items: Mapping[str, Any]) -> Schema:
    return {"type": "array", "items": items}


def choice(*texts: str) -> Schema:
    return {"type": "string", "enum": list(texts)}


SECRET_KEY = closed(name=NAME, key=KEY)

_AMOUNTS = closed(
    required=("cpu", "memory"),
    **{"cpu": QUANTITY, "memory": QUANTITY, "ephemeral-storage": QUANTITY},
)
RESOURCES = closed(required=("requests", "limits"), requests=_AMOUNTS, limits=_AMOUNTS)

TOLERATIONS = listed(
    closed(
        key=TEXT,
        operator=choice("Exists", "Equal"),
        value=TEXT,
        effect=choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
        tolerationSeconds=COUNT,
    )
)

SPREAD = listed(
    closed(
        required=("topologyKey", "maxSkew", "whenUnsatisfiable"),
        topologyKey=TEXT,
        maxSkew=SOME,
        whenUnsatisfiable=choice("DoNotSchedule", "ScheduleAnyway"),
    )
)

_EXPRESSION = closed(
    required=("key", "operator"),
    key=TEXT,
    operator=choice("In", "NotIn", "Exists", "DoesNotExist"),
    values=listed(TEXT),
)
SELECTOR = closed(matchLabels=TEXTS, matchExpressions=listed(_EXPRESSION))
PEERS = listed(
    closed(
        namespaceSelector=SELECTOR,
        podSelector=SELECTOR,
        ipBlock=closed(required=("cidr",), cidr=TEXT, **{"except": listed(TEXT)}),
    )
)
_PORT_RULE = closed(protocol=choice("TCP", "UDP", "SCTP"), port={"type": ["integer", "string"]})
EGRESS = listed(closed(to=PEERS, ports=listed(_PORT_RULE)))

_NAMED = closed(required=("name", "key"), name=NAME, key=KEY)
_FROM = closed(
    secretKeyRef=_NAMED,
    configMapKeyRef=_NAMED,
    fieldRef=closed(required=("fieldPath",), fieldPath=TEXT),
)
ENVIRONMENT = listed(closed(required=("name",), name=TEXT, value=TEXT, valueFrom=_FROM))

_ITEMS = listed(closed(required=("key", "path"), key=KEY, path=TEXT))
# No hostPath: the restricted Pod Security Standard has none.
VOLUMES = listed(
    closed(
        required=("name",),
        name=NAMESPACE,
        secret=closed(secretName=NAME, items=_ITEMS, optional=FLAG, defaultMode=COUNT),
        configMap=closed(name=NAME, items=_ITEMS, optional=FLAG, defaultMode=COUNT),
        persistentVolumeClaim=closed(claimName=NAME, readOnly=FLAG),
        emptyDir=closed(medium=TEXT, sizeLimit=QUANTITY),
    )
)
MOUNTS = listed(
    closed(
        required=("name", "mountPath"),
        name=NAMESPACE,
        mountPath=TEXT,
        subPath=TEXT,
        readOnly=FLAG,
    )
)
