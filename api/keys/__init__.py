"""API keys: router, schemas, service."""
