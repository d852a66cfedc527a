"""What every request passes: host, site, size; and the headers every answer carries.

The embedded service asks for no key, so it answers on this machine only, and a web page that the user visits must
not be able to drive it: neither by a form sent across sites nor by a name of its own that resolves to this machine.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response
from core.errors import PayloadTooLarge
from core.exposure import is_loopback, serves_others
from core.settings import Settings

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
STRICT_CSP: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
DOCS_CSP: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
NOT_AUTHENTICATING: Final = (
    "This service asks for no API key and so answers on its own machine only. Set WECOLORA_AUTH=keys, or "
    "WECOLORA_INSECURE_BIND=true when the network is yours alone."
)
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """Adds the headers; `/docs` may run its own scripts, and the dashboard brings a policy of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        policy = DOCS_CSP if scope["path"].rstrip("/") == "/docs" else STRICT_CSP

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", policy)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class RequestGuard:
    """Refuses foreign hosts, cross-site writes and bodies beyond the limit."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            code, detail = refusal
            response = problem_response(scope["path"], 403, code, "Forbidden", detail)
            await response(scope, receive, send)
            return
        limit_bytes = self._limit_bytes(scope["method"], headers)
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit_bytes:
            error = PayloadTooLarge(limit_bytes)
            response = problem_response(scope["path"], error.status, error.code, error.title, str(error))
            await response(scope, receive, send)
            return
        await self.app(scope, _limited(receive, limit_bytes), send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[str, str] | None:
        if not serves_others(self.settings) and _came_over_the_network(scope):
            return "not_authenticating", NOT_AUTHENTICATING
        host = headers.get("host", "")
        if not is_allowed_host(host, self.settings.allowed_hosts):
            detail = f"This service does not answer to {host!r}; name it in WECOLORA_ALLOWED_HOSTS."
            return "host_not_allowed", detail
        if scope["method"] not in SAFE_METHODS and _is_cross_site(headers):
            return "cross_site_request", "Another site's page may not change anything here."
        return None

    def _limit_bytes(self, method: str, headers: Headers) -> int:
        is_upload = method == "PUT" or headers.get("content-type", "").startswith("multipart/")
        return self.settings.max_upload_bytes if is_upload else self.settings.max_json_bytes


def _came_over_the_network(scope: Scope) -> bool:
    """Told by the address at which the connection arrived, which the client cannot choose."""
    server = scope.get("server")
    return server is not None and server[1] is not None and not is_loopback(server[0])


def _is_cross_site(headers: Headers) -> bool:
    """Browsers tell by `Sec-Fetch-Site`, but over plain HTTP only to localhost; else by `Origin`."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "cross-site"
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def is_allowed_host(host: str, allowed: Iterable[str]) -> bool:
    """True for addresses and localhost, which no foreign name can stand for, and for the names allowed."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.lower().strip("[]")
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return any(name == other.lower() or other == "*" for other in allowed)
    return True


def _limited(receive: Receive, limit_bytes: int) -> Receive:
    """Counts the body while it is read: a chunked one announces nothing."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit_bytes:
            # An HTTPException, because form and JSON parsers turn any other error into a 400.
            raise HTTPException(PayloadTooLarge.status, str(PayloadTooLarge(limit_bytes)))
        return message

    return receive_limited
