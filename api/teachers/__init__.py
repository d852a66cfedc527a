"""Teachers: router, schemas, service."""
