"""``python -m wecolora_client``."""

from wecolora_client.cli import app

app()
