"""Trials that workers ask for: given out under leases, and taken back."""
