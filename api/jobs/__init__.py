"""Jobs: router, schemas, service."""
