"""Owners, their quotas and what they have: router, schemas, service."""
