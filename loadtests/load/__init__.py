"""Load tests: scenarios as data, people by Locust, limits with their head-room."""
