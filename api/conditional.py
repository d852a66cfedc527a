"""Conditional requests (RFC 9110, section 13): what the client has already is not sent again."""

import hashlib
from typing import Final

from fastapi import Request, Response
from pydantic import BaseModel

PRIVATE: Final = "private, no-cache"
"""May be kept by the client alone, which asks each time whether it still holds."""


def names_etag(header: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names what would be sent."""
    if header is None:
        return False
    return header.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in header.split(","))


def respond(request: Request, answer: BaseModel, link: str | None = None) -> Response:
    """An answer as JSON with an `ETag`; 304 without a body when the client has just this.

    Args:
        request: whose headers are read.
        answer: to send.
        link: the `Link` header, when there is one.
    """
    body = answer.model_dump_json().encode()
    # Weak: the same content may be written in another order.
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": PRIVATE} | ({"Link": link} if link else {})
    if names_etag(request.headers.get("if-none-match"), etag.removeprefix("W/")):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
