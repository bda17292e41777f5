"""Runs as objects of a Kubernetes cluster: the port Launcher over ports/cluster.ClusterApi.

The protocol, and why nothing runs twice or is lost: docs/explanation/cluster-runs.md.
"""

from trialbus.adapters.kubernetes_api import open_cluster
from trialbus.adapters.kubernetes_api.reflectors import namespaces_of
from trialbus_trial_launcher.adapters.kubernetes.launcher import ClusterLauncher
from trialbus_trial_launcher.adapters.kubernetes.leftovers import Leftovers
from trialbus_trial_launcher.adapters.kubernetes.pod_logs import PodLogs

__all__ = ["ClusterLauncher", "Leftovers", "PodLogs", "namespaces_of", "open_cluster"]
