"""How long the algorithms take for a point, beside the libraries. `python -m loadtests.suggest`."""
