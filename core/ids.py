"""Prefixed ULIDs: sortable by time of creation, and a stray id tells what it names."""

from typing import Literal

from ulid import ULID

IdPrefix = Literal["ds", "job", "tch", "key", "aud", "wh", "evt", "dlv"]


def new_id(prefix: IdPrefix) -> str:
    """A new id such as `job_01jd3v6gq2m5xk8r7c9w0tbnhe`."""
    return f"{prefix}_{str(ULID()).lower()}"
