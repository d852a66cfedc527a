"""The dashboard: one page, its hashed assets, and the policy that lets it do what it does and no more.

The build (`./run build`) leaves `index.html` and `assets/` in `frontend/dist`. Every path that is no asset is the page
itself, which finds by the path what to show.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

BUILT: Final = Path(__file__).resolve().parents[2] / "frontend" / "dist"
NONCE_PLACE: Final = "__CSP_NONCE__"
"""What the build writes where a nonce belongs; `frontend/vite.config.ts` has the same words."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' blob: data:; "
    "font-src 'self'; connect-src 'self'{store}; worker-src 'self'; manifest-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
FOR_EVER: Final = "public, max-age=31536000, immutable"
NOT_BUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>WeCoLoRA: the dashboard is not built</title>
<h1>The dashboard is not built</h1>
<p>Run <code>./run build</code> in the service's folder and load this page again; no restart is needed. It takes Node
and npm from a Python package and the dashboard's libraries from the npm registry, so it needs a network the first
time.</p>
<p>The HTTP API is complete without it: <a href="/docs">documentation</a>.</p>
</html>
"""


def make_dashboard(folder: Path = BUILT, store_origin: Callable[[], str | None] = lambda: None) -> Starlette:
    """An application to mount at `/dashboard`; the folder may be built, or built anew, while it runs.

    Args:
        folder: of the build.
        store_origin: where pages may send to besides the service itself; asked at each request.
    """

    def policy(nonce: str) -> str:
        origin = store_origin()
        return POLICY.format(nonce=nonce, store=f" {origin}" if origin else "")

    async def show_page(request: Request) -> Response:
        headers = {"Cache-Control": "no-store"}
        try:
            page = (folder / "index.html").read_text(encoding="utf-8")
        except FileNotFoundError:
            return HTMLResponse(NOT_BUILT, 503, headers)
        nonce = secrets.token_urlsafe(16)
        headers["Content-Security-Policy"] = policy(nonce)
        return HTMLResponse(page.replace(NONCE_PLACE, nonce), headers=headers)

    return Starlette(
        routes=[
            Mount("/assets", _Assets(folder / "assets", policy)),
            Route("/{path:path}", show_page, methods=["GET"]),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=1024)],
    )


class _Assets(StaticFiles):
    """Files whose names change with their contents. A web worker's own answer says what the worker may reach."""

    def __init__(self, folder: Path, policy: Callable[[str], str]) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._policy = policy

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            return Response(f"There is no asset {path!r}.", error.status_code, media_type="text/plain")
        response.headers["Cache-Control"] = FOR_EVER
        response.headers["Content-Security-Policy"] = self._policy(secrets.token_urlsafe(16))
        return response
