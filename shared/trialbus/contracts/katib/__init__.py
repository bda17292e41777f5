"""Katib's v1beta1 objects <-> the kernel: wire models, defaults, rules, views."""
