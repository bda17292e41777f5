"""Runs in the environment with Locust, beside the stack: people who call it."""
