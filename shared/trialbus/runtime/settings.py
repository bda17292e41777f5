"""Settings of a service process: environment variables `TRIALBUS_<NAME>`."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from trialbus.kernel import limits


class Settings(BaseSettings):
    """Every field is documented in docs/reference/settings.md; a test says so."""

    model_config = SettingsConfigDict(env_prefix="TRIALBUS_", extra="ignore")

    nats_url: str = Field("nats://127.0.0.1:4222", description="Address of nats-server.")
    nats_seed_file: str = Field(
        "",
        description="File with the NKey seed of this service's identity on the bus, from "
        "`trialbus auth nats`; with it only the provisioner makes streams. Empty: no credentials.",
    )
    nats_tls_ca: str = Field(
        "",
        description="File with the certificates that nats-server's is checked by; with it, "
        "or a certificate of our own, the connection is TLS.",
    )
    nats_tls_cert: str = Field("", description="File with our own certificate for nats-server.")
    nats_tls_key: str = Field("", description="File with the key of that certificate.")
    nats_replicas: int = Field(
        1,
        ge=1,
        le=5,
        description="Servers of a NATS cluster that each stream is kept on; at most as many as "
        "there are.",
    )
    nats_event_bytes: int = Field(
        limits.EVENT_STREAM_BYTES,
        ge=16 * 1024**2,
        description="Bytes of events that the bus keeps on disk for those who come later; when "
        "they are full, the oldest go.",
    )
    mongo_url: str = Field(
        "mongodb://127.0.0.1:27017/?directConnection=true",
        description="Connection string of MongoDB (a replica set of one or more).",
    )
    mongo_database: str = Field("trialbus", description="Name of the database.")
    data_dir: Path = Field(
        Path(".trialbus"), description="Folder for what runs on this machine leave behind."
    )
    checkpoint_root: str = Field(
        "",
        description="Folder of the trials' checkpoints, or the beginning of their URIs "
        "(`s3://bucket/x`), which trials are only told; empty: `checkpoints` in data_dir.",
    )
    artifact_root: str = Field(
        "",
        description="Folder of the trials' artifacts, or the beginning of their URIs; empty: "
        "`artifacts` in data_dir.",
    )
    host: str = Field("127.0.0.1", description="Address that a service listens on.")
    health_port: int = Field(
        0, description="Port of /healthz, /readyz and /metrics; 0 takes a free one."
    )
    http_port: int = Field(0, description="Port of the gateway's HTTP API; 0 takes a free one.")
    grpc_port: int = Field(
        0,
        description="Port of the gRPC API of the gateway, suggestion, metrics_collector or "
        "early_stopping; 0 takes a free one.",
    )
    tls_cert: str = Field(
        "", description="File with the certificate that the gateway's HTTP API is served with."
    )
    tls_key: str = Field("", description="File with the key of that certificate.")
    tokens_file: str = Field(
        "",
        description="File of the gateway's static bearer tokens, from `trialbus auth token "
        "create`; with it every caller must show one. Read again when it changes.",
    )
    oidc_issuer: str = Field(
        "", description="Issuer of JSON web tokens that the gateway takes (`iss`); empty: none."
    )
    oidc_audience: str = Field("", description="Audience that those must be for (`aud`).")
    oidc_jwks_url: str = Field("", description="Address of the issuer's public keys (JWKS).")
    oidc_namespaces_claim: str = Field(
        "namespaces",
        description="Claim with the namespaces of a caller: a list, words, or `*`; dots lead into "
        "objects.",
    )
    oidc_role_claim: str = Field(
        "role", description="Claim with the role of a caller, or several, of which the best counts."
    )
    kubernetes_audience: str = Field(
        "",
        description="Audience of service account tokens that the gateway lets Kubernetes review; "
        "empty: it takes none. An account acts in its own namespace.",
    )
    kubernetes_role: str = Field(
        "writer", description="Role of those service accounts: reader, writer or worker."
    )
    kubernetes_api: str = Field(
        "https://kubernetes.default.svc", description="Address of the Kubernetes API server."
    )
    kubernetes_credentials_dir: str = Field(
        "/var/run/secrets/kubernetes.io/serviceaccount",
        description="Folder with our own `token` and the `ca.crt` of the API server.",
    )
    place: Literal["local", "kubernetes"] = Field(
        "local", description="Where trials run: processes on this machine, or objects of a cluster."
    )
    kubeconfig: str = Field(
        "",
        description="File with the cluster's address and our credentials; empty: those of "
        "kubernetes_api and kubernetes_credentials_dir.",
    )
    kubernetes_namespaces: str = Field(
        "",
        description="Namespaces whose experiments run on the cluster, separated by commas, each "
        "with a Role of ours; empty: all, with a ClusterRole.",
    )
    kubernetes_instance: str = Field(
        "trialbus",
        description="Name of this installation, a label of every object that it makes; another "
        "one for each installation on one cluster.",
    )
    custom_resources: bool = Field(
        False,
        description="Whether the gateway keeps the cluster's Experiment, Trial and Suggestion "
        "objects and the store in step.",
    )
    accept_cluster: str = Field(
        "",
        pattern="^((recreate|drop):.+)?$",
        description="What becomes of experiments whose objects are not in a cluster that the "
        "gateway does not know: `recreate:ID` makes the objects anew, `drop:ID` deletes the "
        "experiments. Its log tells the ID; empty, or another ID: it keeps no custom resources.",
    )
    forward_kubernetes: bool = Field(
        False,
        description="Whether the gateway's /api and /apis are the cluster's own API, asked with "
        "the caller's token, instead of ours: one address for everything, and Katib's clients find "
        "the output of trials.",
    )
    wrapper_image: str = Field(
        "",
        description="Image with the wrapper that ships a trial's metrics from its pod; empty: "
        "logs are followed from outside.",
    )
    default_trial_image: str = Field(
        "",
        description="Image with the bundled trainer, for experiments without a trial template on a "
        "cluster; empty: they are refused there.",
    )
    trial_gateway_url: str = Field(
        "",
        description="Address of the gateway's HTTP API as trials reach it, with a wrapper http:// "
        "alone; empty: as it announces it on this machine.",
    )
    trial_gateway_grpc: str = Field("", description="The same of its gRPC API, HOST:PORT.")
    checkpoint_claim: str = Field(
        "",
        description="PersistentVolumeClaim, in each namespace of experiments, that checkpoints are "
        "kept in on a cluster; empty: checkpoint_root must be a URI, or trials keep none.",
    )
    pod_security: Literal["as-written", "restricted"] = Field(
        "as-written",
        description="`restricted` adds to trials' pods what the restricted Pod Security Standard "
        "asks for and their templates leave out.",
    )
    trial_key_file: str = Field(
        "",
        description="File with the secret that trials' own tokens are made with, the same for "
        "gateway and launchers: one key a line, the first makes, all are believed. Empty: one is "
        "made in data_dir.",
    )
    requests_per_second: float = Field(
        limits.REQUESTS_PER_SECOND,
        ge=0,
        description="Requests a second that the gateway takes of one caller who showed a token, "
        "bursts twice as large; 0: any number.",
    )
    streams_per_identity: int = Field(
        limits.STREAMS_PER_IDENTITY,
        ge=0,
        description="Streams and watches that one caller who showed a token may have open at "
        "once; 0: any number.",
    )
    suggestion_grpc: str = Field(
        "", description="Address of the suggestion service's gRPC port; empty: as it announces it."
    )
    metrics_collector_grpc: str = Field(
        "", description="Address of the metrics collector's gRPC port; empty: as it announces it."
    )
    early_stopping_grpc: str = Field(
        "", description="Address of the stopping service's gRPC port; empty: as it announces it."
    )
    remote_algorithms: dict[str, str] = Field(
        {},
        description="Algorithms on servers that speak Katib's gRPC API, as JSON: "
        '`{"NAME": "HOST:PORT"}`; one of our own with the same name is replaced.',
    )
    algorithm_processes: int = Field(
        0,
        ge=0,
        description="Processes of the suggestion service that heavy algorithms, and those that are "
        "not built in, compute in; they start when they are needed. 0 chooses by cores.",
    )
    algorithm_deadline_s: float = Field(
        limits.ALGORITHM_DEADLINE_S,
        gt=0,
        description="An algorithm that has not answered by then is stopped and its experiment "
        "fails, seconds; each further point of one answer adds a sixth.",
    )
    interpreter: str = Field(
        "", description="What `python` in a trial's command means; empty: our own interpreter."
    )
    templates_dir: str = Field(
        "",
        description="Folder with the trial templates that experiments only name, each a file "
        "<configMapNamespace>/<configMapName>/<templatePath>; empty: `templates` in data_dir.",
    )
    image_map: dict[str, Path] = Field(
        {},
        description=(
            "Which local folder stands for a container image's working folder and environment, "
            'as JSON: `{"IMAGE": "DIR"}`; an image without tag is meant with every tag.'
        ),
    )
    path_map: dict[str, Path] = Field(
        {},
        description=(
            "Where paths of container images lie on this machine, as JSON: "
            '`{"/IMAGE/PATH": "LOCAL/PATH"}`.'
        ),
    )
    sweep_interval_s: float = Field(
        limits.SWEEP_INTERVAL_S,
        description="How often a service looks for what a lost hint would have started, seconds.",
    )
    scrape_interval_s: float = Field(
        limits.SCRAPE_INTERVAL_S,
        description="How often the endpoint of a trial is asked for its metrics, seconds "
        "(PrometheusMetric).",
    )
    kill_grace_s: float = Field(
        limits.KILL_GRACE_S, description="From SIGTERM to SIGKILL of a stopped trial, seconds."
    )
    drain_deadline_s: float = Field(
        limits.DRAIN_DEADLINE_S, description="Time to finish what is in hand at SIGTERM, seconds."
    )
    finished_retention_s: float = Field(
        limits.FINISHED_RETENTION_S,
        description="How long finished experiments are kept, seconds; 0 keeps them for ever.",
    )
    webhooks_file: str = Field(
        "",
        description="File of the gateway's webhooks (docs/how-to/receive-webhooks.md); read again "
        "when it changes. Empty: none.",
    )
    metrics: bool = Field(
        True,
        description="Whether the service counts and times what it does for /metrics; without, that "
        "page is 404.",
    )
    trace_endpoint: str = Field(
        "",
        description="Where spans go by OTLP over HTTP, for example `http://127.0.0.1:4318`; empty: "
        "none are made. OpenTelemetry's own variables `OTEL_EXPORTER_OTLP_...` say the rest.",
    )
    trace_ratio: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of traces that are kept, of those that begin here; a caller's "
        "`traceparent` says for itself.",
    )
    log_level: str = Field("info", description="debug, info, warning or error.")

    @property
    def authenticates(self) -> bool:
        """Whether the gateway asks its callers who they are."""
        return bool(self.tokens_file or self.oidc_issuer or self.kubernetes_audience)
