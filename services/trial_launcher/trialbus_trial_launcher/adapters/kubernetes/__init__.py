"""Runs as objects of a Kubernetes cluster: the port Launcher over ports/cluster.ClusterApi.

The protocol, and why nothing runs twice or is lost: docs/explanation/cluster-runs.md.
"""

from trialbus_trial_launcher.adapters.kubernetes.launcher import ClusterLauncher

__all__ = ["ClusterLauncher"]
