"""Runs as objects of a cluster (docs/explanation/cluster-runs.md). All but `place` is pure; it is
not in the core because it speaks the contracts of pods."""
