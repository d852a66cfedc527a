"""Multipart forms in bounded memory: files are spooled to disk, and their number is limited."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

MAX_FIELDS: Final = 100
MAX_FIELD_BYTES: Final = 64 * 1024


@asynccontextmanager
async def read_form(request: Request, max_files: int) -> AsyncIterator[FormData]:
    """The form; its temporary files are gone when the block ends.

    Raises:
        HTTPException: 413 for too many files or fields or a text field that is too long, 400 for a broken form.
    """
    limits = {"max_files": max_files, "max_fields": MAX_FIELDS, "max_part_size": MAX_FIELD_BYTES}
    try:
        form = await request.form(**limits)
    except HTTPException as error:
        # The parser calls every fault a 400; what is too much is told apart by its words.
        if error.status_code == 400 and ("Too many" in error.detail or "maximum size" in error.detail):
            raise HTTPException(413, error.detail) from error
        raise
    try:
        yield form
    finally:
        await form.close()
