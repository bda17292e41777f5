"""Load tests: scenarios with limits, each figure with its spread. Run as `python -m loadtests`."""
