"""Runs what the API queued: ingest of untrusted uploads and distillation jobs, each in a child process."""
