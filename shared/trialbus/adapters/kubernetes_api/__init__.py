"""The ClusterApi port over kubernetes-asyncio, and views of many objects that follow it.

kubernetes-asyncio reads kubeconfigs (exec plugins, client certificates, OIDC) and makes the pool of
connections. Its typed and dynamic clients are not used: they copy each object several times, know
no deadline of a watch that went silent, and lose a watch's place when the server drops it.

It loads on first use: half a second, which a service without a cluster does not need.
"""

from trialbus.adapters.kubernetes_api.opening import ClusterSettings, open_cluster
from trialbus.adapters.kubernetes_api.reflector import Change, ObjectKey, Reflector
from trialbus.adapters.kubernetes_api.reflectors import Reflectors, namespaces_of
from trialbus.adapters.kubernetes_api.request_metrics import RequestObserver

__all__ = [
    "Change",
    "ClusterSettings",
    "ObjectKey",
    "Reflector",
    "Reflectors",
    "RequestObserver",
    "namespaces_of",
    "open_cluster",
]
