"""Recording and alerting rules for Prometheus, the promises they watch, and promtool's tests."""
