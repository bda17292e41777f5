"""The Grafana dashboards of deploy/grafana, as code: what they show, and how that becomes JSON."""
