"""How processes of the service log: one line a record, to standard error."""

import logging
from typing import Final

from core.settings import Settings

LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logging(settings: Settings) -> None:
    """Set level and format; a process that has set its own keeps them."""
    logging.basicConfig(level=settings.log_level, format=LINE)
