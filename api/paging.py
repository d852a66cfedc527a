"""Cursor paging over HTTP: `limit`, `cursor`, and a `Link` header to the next page (RFC 8288)."""

from typing import Annotated

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict


class PageQuery(BaseModel):
    """Which page."""

    model_config = ConfigDict(frozen=True)

    limit: int
    cursor: str | None


def _page_query(
    limit: Annotated[int, Query(ge=1, le=100, description="Rows a page.")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=40, description="`next_cursor` of the page before.")
    ] = None,
) -> PageQuery:
    return PageQuery(limit=limit, cursor=cursor)


PageDep = Annotated[PageQuery, Depends(_page_query)]


def next_link(request: Request, next_cursor: str | None) -> str | None:
    """The `Link` header when there is a next page."""
    if next_cursor is None:
        return None
    url = request.url.include_query_params(cursor=next_cursor)
    target = url.path + (f"?{url.query}" if url.query else "")
    return f'<{target}>; rel="next"'


def link_next(request: Request, response: Response, next_cursor: str | None) -> None:
    """Add the `Link` header when there is a next page."""
    link = next_link(request, next_cursor)
    if link is not None:
        response.headers["Link"] = link
