"""The audit log: router, schemas."""
