"""podFailurePolicy: the first rule that fits a failed pod decides."""

from typing import Any

Object = dict[str, Any]


def policy_verdict(job: Object, pod: Object) -> tuple[str, str]:
    """(action, message). Without a rule that fits: Count."""
    for i, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        text = _exit_code(rule, pod) or _condition(rule, pod)
        if text:
            action = str(rule["action"])
            return action, f"{text} matching {action} rule at index {i}"
    return "Count", ""


def _place(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _exit_code(rule: Object, pod: Object) -> str:
    asked = rule.get("onExitCodes")
    if not asked:
        return ""
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(key) or ():
            ended = (container.get("state") or {}).get("terminated")
            named = asked.get("containerName") in (None, container["name"])
            if not ended or not named or ended["exitCode"] == 0:
                continue
            if (ended["exitCode"] in asked["values"]) is (asked["operator"] == "In"):
                code = ended["exitCode"]
                which = f"Container {container['name']} for pod {_place(pod)}"
                return f"{which} failed with exit code {code}"
    return ""


def _condition(rule: Object, pod: Object) -> str:
    there = (pod.get("status") or {}).get("conditions") or ()
    for asked in rule.get("onPodConditions") or ():
        for condition in there:
            if condition["type"] == asked["type"] and condition["status"] == asked.get(
                "status", "True"
            ):
                return f"Pod {_place(pod)} has condition {asked['type']}"
    return ""
