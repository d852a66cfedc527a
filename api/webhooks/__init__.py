"""Webhooks: router, schemas, service."""
