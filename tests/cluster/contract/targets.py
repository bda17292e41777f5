"""The servers that the contract is held against: the double, and a real cluster where one is named.

TRIALBUS_TEST_KUBECONFIG: the kubeconfig of a cluster whose current context may make namespaces,
custom resource definitions and all in them. TRIALBUS_TEST_IMAGE: an image with `sh`, which the
cluster's nodes have or can pull.
"""

import asyncio
import importlib.metadata
import json
import os
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from kubernetes_asyncio import client, config
from tests.cluster.double.server import Double

from trialbus.testkit.waits import until_sync

Object = dict[str, Any]
KUBECONFIG = os.environ.get("TRIALBUS_TEST_KUBECONFIG", "")
_VERSION = importlib.metadata.version("trialbus")
IMAGE = os.environ.get("TRIALBUS_TEST_IMAGE", "") or f"trialbus/trainer:{_VERSION}"
# A node may have to start a container; of the double the processes of this machine.
CLUSTER_DEADLINE_S, DOUBLE_DEADLINE_S = 120.0, 20.0
# A finalizer of the tests.
HOLD = "trialbus.io/hold"
MERGE = "application/merge-patch+json"


@dataclass(slots=True, kw_only=True)
class Target:
    """One API server. namespace: of these tests alone; group: of their custom resources. core:
    where its ConfigMaps are, with their apiVersion."""

    http: httpx.Client
    namespace: str
    group: str
    deadline_s: float
    double: Double | None = None
    core: str = "/api/v1"

    @property
    def linger_s(self) -> float:
        """How long a container must run so that its kubelet surely sees it running."""
        return 0.2 if self.double is not None else 4.0

    # -- addresses

    def path(self, plural: str, name: str = "", sub: str = "", *, group: str = "") -> str:
        """Of a namespaced kind; group `batch/v1`, "" is v1."""
        base = f"/apis/{group}" if group else self.core
        parts = [base, "namespaces", self.namespace, plural, name, sub]
        return "/".join(part for part in parts if part)

    # -- calls; an answer that is not as expected fails the test with its text

    def call(self, method: str, path: str, *, expect: int = 0, **options: Any) -> Any:
        answer = self.http.request(method, path, **options)
        if expect:
            assert answer.status_code == expect, f"{method} {path}: {answer.text}"
        else:
            assert answer.status_code < 300, f"{method} {path}: {answer.text}"
        return answer.json()

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params)

    def make(self, path: str, body: Object, *, expect: int = 201, **params: Any) -> Any:
        if path.startswith(self.core) and body.get("apiVersion") == "v1":
            version = self.core.removeprefix("/apis/").removeprefix("/api/")
            body = {**body, "apiVersion": version}
        return self.call("POST", path, json=body, params=params, expect=expect)

    def patch(
        self, path: str, body: Any, *, kind: str = MERGE, expect: int = 200, query: str = ""
    ) -> Any:
        headers = {"Content-Type": kind}
        content = json.dumps(body).encode()
        place = f"{path}?{query}" if query else path
        return self.call("PATCH", place, content=content, headers=headers, expect=expect)

    def delete(self, path: str, options: Object | None = None, *, expect: int = 200) -> Any:
        return self.call("DELETE", path, json=options or {}, expect=expect)

    # -- waiting

    def until(self, condition: Any, what: str) -> None:
        until_sync(condition, what, within_s=self.deadline_s)

    def expect_gone(self, path: str) -> None:
        self.until(lambda: self.http.get(path).status_code == 404, f"{path} is gone")

    def until_condition(self, path: str, kind: str) -> Object:
        """The condition of that type, once it is True."""
        found: list[Object] = []

        def there() -> bool:
            status = self.get(path).get("status") or {}
            found[:] = [
                c
                for c in status.get("conditions") or ()
                if c["type"] == kind and c["status"] == "True"
            ]
            return bool(found)

        self.until(there, f"{path} has {kind}")
        return found[0]

    def pods_of(self, job: str) -> list[Object]:
        selector = f"batch.kubernetes.io/job-name={job}"
        items: list[Object] = self.get(self.path("pods"), labelSelector=selector)["items"]
        return items

    def pod_of(self, job: str) -> Object:
        self.until(lambda: self.pods_of(job), f"{job} has a pod")
        return self.pods_of(job)[0]

    def until_phase(self, pod: str, *phases: str) -> Object:
        seen: list[Object] = []

        def there() -> bool:
            seen[:] = [self.get(self.path("pods", pod))]
            return seen[0]["status"]["phase"] in phases

        self.until(there, f"{pod} is {phases}")
        return seen[0]


def name(word: str) -> str:
    """No other test's, and no other run's."""
    return f"{word}-{uuid.uuid4().hex[:8]}"


def config_map(name_: str, **labels: str) -> Object:
    meta: Object = {"name": name_, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "1"}}


def pod_spec(script: str, **more: Any) -> Object:
    """One container `main` that runs the script; passes the restricted Pod Security Standard."""
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container("main", script)],
        **more,
    }


def container(name_: str, script: str, **more: Any) -> Object:
    return {
        "name": name_,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **more,
    }


def pod(name_: str, script: str, **more: Any) -> Object:
    meta = {"name": name_}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod_spec(script, **more)}


def job(name_: str, script: str, *, pod_more: Object | None = None, **spec: Any) -> Object:
    template = {"spec": pod_spec(script, **(pod_more or {}))}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name_},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def target_of(http: httpx.Client, deadline_s: float, double: Double | None = None) -> Target:
    """With names of its own, of which nothing is made yet."""
    mark = uuid.uuid4().hex[:8]
    return Target(
        http=http,
        namespace=f"trialbus-contract-{mark}",
        group=f"c{mark}.contract.trialbus.io",
        deadline_s=deadline_s,
        double=double,
    )


@contextmanager
def ready(http: httpx.Client, deadline_s: float, double: Double | None = None) -> Iterator[Target]:
    """With a namespace of its own, which goes at the end with all that is in it."""
    target = target_of(http, deadline_s, double)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    target.make(
        "/api/v1/namespaces",
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": target.namespace, "labels": labels},
        },
    )
    try:
        account = target.path("serviceaccounts", "default")
        target.until(lambda: http.get(account).status_code == 200, "pods have an account")
        yield target
    finally:
        path = f"/api/v1/namespaces/{target.namespace}"
        http.delete(path)
        for held in ("pods", "configmaps"):
            # By tests that failed.
            for item in target.get(target.path(held))["items"]:
                if item["metadata"].get("finalizers") == [HOLD]:
                    free = {"metadata": {"finalizers": None}}
                    target.patch(target.path(held, item["metadata"]["name"]), free)
        target.expect_gone(path)


def cluster_client(kubeconfig: Path) -> httpx.Client:
    """Of the current context, with its certificates or its token (exec plug-ins included)."""
    found = client.Configuration()
    loading = config.load_kube_config(config_file=str(kubeconfig), client_configuration=found)
    asyncio.run(loading)
    context = ssl.create_default_context(cafile=found.ssl_ca_cert)
    # As the product: authorities of clusters leave out what Python 3.13 asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not found.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.cert_file:
        context.load_cert_chain(found.cert_file, found.key_file)
    headers = {}
    if token := found.api_key.get("BearerToken"):
        headers["Authorization"] = token
    return httpx.Client(
        base_url=str(found.host), verify=context, headers=headers, timeout=60.0, trust_env=False
    )
