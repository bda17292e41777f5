"""What is kept of renderings: golden files of the tests, and manifests for `kubectl apply`."""

from pathlib import Path

import yaml

from making.charts.files import REPOSITORY
from making.charts.rendering import UMBRELLA, Values, example_values, rendered

GOLDEN = REPOSITORY / "tests/charts/golden"
MANIFESTS = REPOSITORY / "deploy/manifests"
DEFINITIONS = REPOSITORY / "deploy/crds"
NAMESPACE = "trialbus"

# namespaced: trials run in the installation's own namespace, and nothing but the namespace and the
# definitions needs rights beyond it.
_MANIFESTS: dict[str, Values] = {
    "namespaced": {
        "global": {"namespaces": [NAMESPACE], "settings": {"pod_security": "restricted"}}
    },
    "cluster": {},
}
_NOTE = """\
# Made of deploy/helm by `make manifests`. Before it: deploy/crds, and the Secrets of
# docs/how-to/install-on-kubernetes.md in the namespace trialbus.
"""


def golden_files(charts: Path) -> dict[Path, str]:
    """One file for the default values and one for each example."""
    cases: dict[str, Values] = {"default": {}, **example_values()}
    return {
        GOLDEN / f"{name}.yaml": rendered(charts / UMBRELLA, values)
        for name, values in cases.items()
    }


def manifest_files(charts: Path) -> dict[Path, str]:
    return {
        MANIFESTS / f"{name}.yaml": _NOTE + _namespace() + rendered(charts / UMBRELLA, values)
        for name, values in _MANIFESTS.items()
    }


def _namespace() -> str:
    # Enforced: every pod of ours passes, and so must trials in this namespace.
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    head = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    return "---\n" + yaml.safe_dump(head, sort_keys=False)
