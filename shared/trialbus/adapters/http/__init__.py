"""HTTP inside a service's own event loop: a server that is told when to stop, and health pages."""

from trialbus.adapters.http.health import health_app, health_routes
from trialbus.adapters.http.server import Tls, serving

__all__ = ["Tls", "health_app", "health_routes", "serving"]
