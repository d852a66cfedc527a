"""Health: router, schemas, service."""
