"""HTTP with patience: a key on every request, problem documents as exceptions, retries where they do no harm."""

import ipaddress
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx2
import stamina
from pydantic import ValidationError

from wecolora_client.errors import ServiceError, Unreachable
from wecolora_client.models import Problem

T = TypeVar("T")

_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_BUSY = frozenset({429, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 60.0
_LONGEST_DETAIL = 300


class Transport:
    """One service.

    Args:
        url: where it answers.
        key: of the API, where the service asks for one.
        patience_seconds: how long a request that the service cannot answer now is tried again.
    """

    def __init__(self, url: str, key: str | None, patience_seconds: float) -> None:
        self.url = url.rstrip("/")
        self.patience_seconds = patience_seconds
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A service on this machine is not asked through a proxy of the environment.
        proxies = not _is_this_machine(httpx2.URL(self.url).host)
        self._http = httpx2.Client(base_url=self.url, timeout=_TIMEOUT, headers=headers, trust_env=proxies)
        # Has no key: what a store is sent by a signed URL is nobody else's business.
        self._store = httpx2.Client(timeout=_TIMEOUT, trust_env=proxies)

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()
        self._store.close()

    def call(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """One request, tried again until `patience_seconds` are over.

        A POST is sent under one Idempotency-Key, so that what it makes is made once, however often it is sent.

        Raises:
            ServiceError: the service refuses it.
            Unreachable: it does not answer.
        """
        if method == "POST":
            arguments["headers"] = {"Idempotency-Key": str(uuid.uuid4()), **arguments.get("headers", {})}
        return self.retry(lambda: self.once(method, path, **arguments))

    def once(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """One request, not tried again.

        Raises:
            ServiceError: the service refuses it.
        """
        response = self._http.request(method, path, **arguments)
        raise_for_problem(response)
        return response

    def retry(self, action: Callable[[], T]) -> T:
        """Do something until it works, the service refuses it, or patience ends.

        Args:
            action: sends its requests anew every time; the service may get them twice.

        Raises:
            ServiceError: the service refuses it.
            Unreachable: it does not answer.
        """

        def is_worth_another_try(error: Exception) -> bool | float:
            if isinstance(error, ServiceError) and error.problem.status in _BUSY:
                return min(error.retry_after_seconds or 1.0, _LONGEST_WAIT_SECONDS)
            return isinstance(error, httpx2.TransportError)

        try:
            for attempt in stamina.retry_context(
                on=is_worth_another_try, attempts=None, timeout=self.patience_seconds
            ):
                with attempt:
                    return action()
        except httpx2.TransportError as error:
            raise Unreachable(self.url, str(error)) from error
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def stream(
        self, method: str, path: str, *, to_store: bool = False, **arguments: Any
    ) -> Iterator[httpx2.Response]:
        """An answer that is read as it arrives; not tried again.

        Args:
            method: of the request.
            path: at the service; or the whole URL at a store.
            to_store: whether it goes to a store, without the service's key.
            **arguments: of the request.

        Raises:
            ServiceError: the service, or the store, refuses it.
        """
        http = self._store if to_store else self._http
        with http.stream(method, path, **arguments) as response:
            raise_for_problem(response)
            yield response


def raise_for_problem(response: httpx2.Response) -> None:
    """Turn a problem document into a `ServiceError`.

    Raises:
        ServiceError: when the answer is not a success.
    """
    if response.is_success:
        return
    response.read()
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:  # from a store, or a proxy in between
        detail = f"{response.url.host} answered {response.status_code}: {response.text[:_LONGEST_DETAIL]}"
        problem = Problem(status=response.status_code, title=response.reason_phrase, detail=detail)
    seconds = response.headers.get("retry-after", "")
    raise ServiceError(problem, float(seconds) if seconds.isdecimal() else None)


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
