"""Metrics for Prometheus: router, what the rows say, what this process has answered."""
