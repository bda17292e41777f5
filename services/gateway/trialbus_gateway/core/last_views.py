"""What is left to show of an object whose documents are gone: who it was."""

from trialbus_gateway.core.change_log import Kind, Labels, Object

API_VERSION = "kubeflow.org/v1beta1"
KIND_NAMES = {
    Kind.EXPERIMENTS: "Experiment",
    Kind.SUGGESTIONS: "Suggestion",
    Kind.TRIALS: "Trial",
}


def bare_view(kind: Kind, *, namespace: str, name: str, uid: str, labels: Labels) -> Object:
    metadata: Object = {"name": name, "namespace": namespace, "uid": uid}
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": API_VERSION, "kind": KIND_NAMES[kind], "metadata": metadata}
