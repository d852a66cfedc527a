"""Partial requests for one stored file (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

from core.errors import ServiceError

_SINGLE_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")


class RangeNotSatisfiable(ServiceError):
    """The range lies outside the file."""

    code = "range_not_satisfiable"
    status = 416
    title = "Range not satisfiable"

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        super().__init__(f"The file has {size_bytes:,} bytes.")


@dataclass(frozen=True)
class ByteRange:
    """From `start` up to, not including, `end`."""

    start: int
    end: int


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The one range asked for; None for the whole file (also for forms that a server may ignore).

    Raises:
        RangeNotSatisfiable: when it begins after the end.
    """
    match = _SINGLE_RANGE.match(header.strip()) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        length = int(last)
        if length == 0 or size_bytes == 0:
            raise RangeNotSatisfiable(size_bytes)
        return ByteRange(max(size_bytes - length, 0), size_bytes)
    start = int(first)
    if start >= size_bytes:
        raise RangeNotSatisfiable(size_bytes)
    end = min(int(last) + 1, size_bytes) if last else size_bytes
    return ByteRange(start, end) if start < end else None
