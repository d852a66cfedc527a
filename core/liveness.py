"""Whether a process is well, as an orchestrator asks: `python -m core.liveness FILE SECONDS`, or with a URL.

A worker and a dispatcher touch a file while their loops go round; a file that was not touched for that long, or never,
means that the process stands still. An API is asked over HTTP. Loads nothing of the service: it runs every few seconds.
"""

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

BEAT_SECONDS = 5.0
TIMEOUT_SECONDS = 10.0


def beat(file: Path | None) -> None:
    """Say that this process is well; without a file nobody asked."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file)


def silence(file: Path, most_seconds: float) -> str | None:
    """Why the process that touches this file is not well; None when it is."""
    try:
        age_seconds = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return f"{file} was never touched"
    return f"{file} was touched {age_seconds:.0f} s ago" if age_seconds > most_seconds else None


def refusal(url: str) -> str | None:
    """Why an API is not ready; None when it is."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return None if answer.status == 200 else f"{url} answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answered {error.code}: {error.read(2000).decode('utf-8', 'replace')}"
    except OSError as error:
        return f"{url} does not answer: {error}"


def main(arguments: list[str]) -> str | int:
    """The reason, for standard error and exit status 1; or 0."""
    match arguments:
        case [url] if url.startswith(("http://", "https://")):
            return refusal(url) or 0
        case [file, seconds]:
            return silence(Path(file), float(seconds)) or 0
        case _:
            return "usage: python -m core.liveness URL | FILE SECONDS"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
