"""Datasets: router, schemas, service."""
