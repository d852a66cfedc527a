"""The dispatcher's post office: sends what owners' endpoints are to be told.

Many are sent to at once, each within a time of its own and one message at a time, so that an endpoint that hangs delays
nobody else. Addresses are checked by `core/webhooks/egress.py`, and the connection goes to what was checked; no
redirect is followed, no proxy of the environment is used, and of an answer only the head is read.
"""

import logging
import ssl
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpcore2
from standardwebhooks import Webhook as Signer

from core.webhooks import deliveries
from core.webhooks.deliveries import LEASE_SLACK_SECONDS, Outcome, Sending
from core.webhooks.egress import PORTS, AddressRefused, Egress
from worker.runtime import DATABASE_TROUBLE, Runtime

USER_AGENT: Final = "WeCoLoRA-Webhooks"
MOST_AT_ONCE: Final = 100
MOST_LOOK_UPS: Final = 40
"""Threads of their own: names that hang must not hold up what the database is told."""
LONGEST_ERROR: Final = 300

log = logging.getLogger(__name__)


def deliver_until_stopped(runtime: Runtime, stop: threading.Event) -> None:
    """Send until told to stop; a fault of ours ends the whole process, which is started anew."""
    try:
        anyio.run(PostOffice(runtime).run, stop)
    finally:
        stop.set()


class PostOffice:
    """Claims deliveries, sends them, and keeps what became of them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._timeout_seconds = runtime.settings.webhook_timeout_seconds
        self._egress = Egress.from_settings(runtime.settings)
        self._tls = httpcore2.default_ssl_context()
        self._look_ups = anyio.CapacityLimiter(MOST_LOOK_UPS)
        self._sending = 0

    async def run(self, stop: threading.Event) -> None:
        """Go round until told to stop.

        What is being sent then is broken off, and sent again when its lease has run out.
        """
        async with anyio.create_task_group() as tasks:
            while not stop.is_set():
                try:
                    claimed = await anyio.to_thread.run_sync(self._claim)
                except DATABASE_TROUBLE as error:
                    log.warning("the database does not answer: %s", type(error).__name__)
                    claimed = []
                for sending in claimed:
                    self._sending += 1
                    tasks.start_soon(self._deliver, sending)
                await anyio.sleep(self._runtime.settings.dispatcher_interval_seconds)
            tasks.cancel_scope.cancel()

    def _claim(self) -> list[Sending]:
        room = MOST_AT_ONCE - self._sending
        with self._runtime.database.read() as session:
            if room <= 0 or not deliveries.has_work(session):
                return []
        with self._runtime.database.write() as session:
            deliveries.spread_events(session)
        with self._runtime.database.write() as session:
            return deliveries.claim_due(session, self._timeout_seconds + LEASE_SLACK_SECONDS, room)

    async def _deliver(self, sending: Sending) -> None:
        try:
            outcome = await self.send(sending)
            try:
                is_ours = await anyio.to_thread.run_sync(self._finish, sending, outcome)
            except DATABASE_TROUBLE as error:
                log.warning("delivery %s is left: %s", sending.delivery_id, type(error).__name__)
                return
        finally:
            self._sending -= 1
        words = outcome.error or f"taken, {outcome.status_code}"
        log.info("delivery %s to %s: %s", sending.delivery_id, sending.webhook_id, words)
        if not is_ours:
            log.warning("delivery %s is not ours any more, and its outcome is not kept", sending.delivery_id)

    def _finish(self, sending: Sending, outcome: Outcome) -> bool:
        with self._runtime.database.write() as session:
            return deliveries.finish(session, self._runtime.settings, sending, outcome)

    async def send(self, sending: Sending) -> Outcome:
        """Try once; every fault of the endpoint's is an outcome."""
        started = time.monotonic()
        status_code, error, retry_after = None, None, None
        try:
            with anyio.fail_after(self._timeout_seconds):
                status_code, retry_after = await self._post(sending)
        except TimeoutError:
            error = f"no answer within {self._timeout_seconds:g} seconds"
        except AddressRefused as refused:
            error = str(refused)
        except (OSError, ssl.SSLError, httpcore2.NetworkError, httpcore2.ProtocolError) as fault:
            error = f"{type(fault).__name__}: {fault}"
        except Exception:
            # One message that trips us must not end the dispatcher, again at every try.
            log.exception("delivery %s", sending.delivery_id)
            error = "a fault of the service, whose log says more"
        else:
            error = _refusal(status_code)
        return Outcome(status_code, error and error[:LONGEST_ERROR], time.monotonic() - started, retry_after)

    async def _post(self, sending: Sending) -> tuple[int, float | None]:
        parsed = urlsplit(sending.url)
        if parsed.scheme == "http" and not self._egress.http:
            raise AddressRefused("messages are sent over TLS only here")
        target = (parsed.path or "/") + (f"?{parsed.query}" if parsed.query else "")
        url = httpcore2.URL(
            scheme=parsed.scheme,
            host=parsed.hostname or "",
            port=parsed.port or PORTS[parsed.scheme],
            target=target,
        )
        backend = CheckedBackend(self._egress, self._look_ups)
        pool = httpcore2.AsyncConnectionPool(self._tls, network_backend=backend)
        body = sending.body.encode()
        headers = [
            ("Host", parsed.netloc),
            *signed_headers(sending).items(),
            ("Content-Length", str(len(body))),
        ]
        async with pool, pool.stream("POST", url, headers=headers, content=body) as answer:
            given = {name.lower(): value for name, value in answer.headers}
            return answer.status, _retry_after(given.get(b"retry-after", b""))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that were checked, and looks up no name again."""

    def __init__(self, egress: Egress, look_ups: anyio.CapacityLimiter) -> None:
        self._egress, self._look_ups = egress, look_ups
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """The first of the host's addresses that answers.

        Raises:
            AddressRefused: one of them is not allowed.
        """
        addresses = await anyio.to_thread.run_sync(
            self._egress.resolve, host, port, abandon_on_cancel=True, limiter=self._look_ups
        )
        for left, address in reversed([*enumerate(reversed(addresses))]):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore2.ConnectError:
                if not left:
                    raise
        raise AssertionError("a name that was resolved has an address")


def signed_headers(sending: Sending) -> dict[str, str]:
    """The headers of a message, signed with each of the secrets that count."""
    at = datetime.now(UTC).replace(microsecond=0)
    signatures = [Signer(secret).sign(sending.event_id, at, sending.body) for secret in sending.secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": sending.event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _refusal(status_code: int) -> str | None:
    if 200 <= status_code < 300:
        return None
    if 300 <= status_code < 400:
        return f"it answered {status_code}; redirects are not followed, give the final URL"
    return f"it answered {status_code}"


def _retry_after(value: bytes) -> float | None:
    """Seconds, or a date (RFC 9110, section 10.2.3)."""
    text = value.decode("ascii", "replace").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
