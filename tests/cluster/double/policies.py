"""What forbids an object that is right in itself: quotas and the Pod Security Standard."""

from typing import TYPE_CHECKING, Any

from tests.cluster.double import errors

if TYPE_CHECKING:
    from tests.cluster.double.objects import Objects, Target

Object = dict[str, Any]
_LEVEL = "pod-security.kubernetes.io/enforce"


def check_policies(target: "Target", body: Object, objects: "Objects") -> None:
    """Raises 403. Quotas count objects only; of the standards `restricted` is known."""
    if not target.namespace:
        return
    _check_quotas(target, body, objects)
    if target.kind.plural != "pods" or target.kind.group:
        return
    namespace = objects.state.get("", "namespaces", "", target.namespace)
    labels = (namespace or {"metadata": {}})["metadata"].get("labels") or {}
    if labels.get(_LEVEL) == "restricted" and (wrong := restricted_violations(body["spec"])):
        text = f'violates PodSecurity "restricted:latest": {", ".join(wrong)}'
        raise errors.forbidden("", "pods", body["metadata"]["name"], text)


def _check_quotas(target: "Target", body: Object, objects: "Objects") -> None:
    kind = target.kind
    names = [f"count/{kind.qualified}", *([kind.plural] if not kind.group else ())]
    quotas = objects.state.shelf("", "resourcequotas").in_order(target.namespace)
    for quota in quotas:
        hard = quota.obj["spec"].get("hard") or {}
        for name in names:
            if name not in hard:
                continue
            used = sum(1 for _ in objects.shelf(kind).in_order(target.namespace))
            if used + 1 > int(hard[name]):
                which = quota.obj["metadata"]["name"]
                counts = f"requested: {name}=1, used: {name}={used}, limited: {name}={hard[name]}"
                text = f"exceeded quota: {which}, {counts}"
                raise errors.forbidden(kind.group, kind.plural, body["metadata"]["name"], text)


def restricted_violations(spec: Object) -> list[str]:
    """Of the restricted Pod Security Standard, in the words of its admission plug-in."""
    found = [
        f"host namespaces ({k}=true)" for k in ("hostNetwork", "hostPID", "hostIPC") if spec.get(k)
    ]
    pod = spec.get("securityContext") or {}
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        found += _container_violations(container, pod)
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
    for volume in spec.get("volumes") or ():
        kinds = set(volume) - {"name"} - allowed - {"projected", "secret"}
        if kinds:
            found.append(f'restricted volume types (volume "{volume["name"]}")')
    return found


def _container_violations(container: Object, pod: Object) -> list[str]:
    own = container.get("securityContext") or {}
    where = f'container "{container["name"]}" must set securityContext'
    found = []
    if own.get("privileged"):
        found.append(f"privileged ({where}.privileged=false)")
    if own.get("allowPrivilegeEscalation") is not False:
        text = f"{where}.allowPrivilegeEscalation=false"
        found.append(f"allowPrivilegeEscalation != false ({text})")
    capabilities = own.get("capabilities") or {}
    added = set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}
    if "ALL" not in (capabilities.get("drop") or ()) or added:
        found.append(f'unrestricted capabilities ({where}.capabilities.drop=["ALL"])')
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        found.append(f"runAsNonRoot != true (pod or {where}.runAsNonRoot=true)")
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        found.append(f"runAsUser=0 (pod or {where}.runAsUser to another)")
    profile = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        text = f'{where}.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        found.append(f"seccompProfile (pod or {text})")
    return found
