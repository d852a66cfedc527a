"""``python -m wecolora`` is the command line."""

from wecolora.cli import main

main()
