"""Who may do what: everybody everything, less what a test takes away."""

from dataclasses import dataclass, field
from typing import Any

from tests.cluster.double import errors
from tests.cluster.double.calls import Call

Object = dict[str, Any]
USER = "system:serviceaccount:trialbus:trialbus"


@dataclass(slots=True)
class Access:
    """token: what a request must carry, "" for none. denied: (verb, resource, namespace), "*" for
    any; resource as `jobs.batch` or `pods/log`."""

    token: str = ""
    denied: set[tuple[str, str, str]] = field(default_factory=set)

    def deny(self, verb: str, resource: str, namespace: str = "*") -> None:
        self.denied.add((verb, resource, namespace))

    def allow(self, verb: str, resource: str, namespace: str = "*") -> None:
        self.denied.discard((verb, resource, namespace))

    def may(self, verb: str, resource: str, namespace: str) -> bool:
        return not any(
            (v in ("*", verb)) and r in ("*", resource) and n in ("*", namespace)
            for v, r, n in self.denied
        )

    def check_token(self, header: str) -> None:
        if self.token and header != f"Bearer {self.token}":
            raise errors.ApiError(401, "Unauthorized", "Unauthorized")

    def check(self, call: Call) -> None:
        if not self.denied or self.may(call.verb, self._resource(call), call.namespace):
            return
        scope = f'in the namespace "{call.namespace}"' if call.namespace else "at the cluster scope"
        group = f'in API group "{call.kind.group}"'
        why = f'User "{USER}" cannot {call.verb} resource "{call.resource}" {group} {scope}'
        raise errors.forbidden(call.kind.group, call.kind.plural, call.name, why)

    @staticmethod
    def _resource(call: Call) -> str:
        sub = f"/{call.subresource}" if call.subresource else ""
        return f"{call.kind.qualified}{sub}"

    def review(self, call: Call, body: Object) -> Object | None:
        """The answer to a review; None: the call is not one."""
        if call.kind.plural == "selfsubjectreviews":
            return {**body, "status": {"userInfo": {"username": USER}}}
        if call.kind.plural == "selfsubjectrulesreviews":
            rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
            status = {"resourceRules": [rule], "nonResourceRules": [], "incomplete": False}
            return {**body, "status": status}
        if call.kind.plural != "selfsubjectaccessreviews":
            return None
        asked = (body.get("spec") or {}).get("resourceAttributes")
        if asked is None:
            return {**body, "status": {"allowed": True}}
        resource = asked.get("resource", "")
        group = asked.get("group", "")
        name = f"{resource}.{group}" if group else resource
        if sub := asked.get("subresource"):
            name += f"/{sub}"
        allowed = self.may(asked.get("verb", ""), name, asked.get("namespace", ""))
        status = {"allowed": allowed}
        return {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {"creationTimestamp": None},
            "spec": body["spec"],
            "status": status,
        }
