"""The part of Prometheus' read API that Grafana and promtool need, over experiments' series.

It is served below its own prefix, which is what a data source has as its URL.
"""

PREFIX = "/prometheus"
API = f"{PREFIX}/api/v1"


def is_prometheus(path: str) -> bool:
    return path.startswith(f"{PREFIX}/")
