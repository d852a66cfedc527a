"""What somebody without a key may do with the object store: asked of the store itself, as that somebody.

Policies, ACLs and account-wide blocks add up to an answer that no single one of them gives. So the bucket is listed,
read and written by requests that carry no signature; each of these must be refused.
"""

import uuid
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import httpx2

from core.errors import StorageUnavailable
from core.settings import Settings
from core.storage import Storage

PREFIX: Final = "health/exposure"
TIMEOUT_SECONDS: Final = 20
# Some stores deny by pretending that there is nothing.
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


def open_to_anyone(settings: Settings) -> list[str]:
    """What is allowed without a key: any of `list`, `read`, `write`; nothing for a local folder.

    Raises:
        StorageUnavailable: when the store does not answer, or refuses its owner.
        ObjectMissing: when there is no such bucket.
    """
    storage = Storage.from_settings(settings)
    # Names of its own: several processes of a deployment start, and ask, at the same time.
    readable, writable = f"{PREFIX}-{uuid.uuid4().hex}", f"{PREFIX}-{uuid.uuid4().hex}"
    signed = storage.sign("GET", readable, timedelta(minutes=1))
    if signed is None:
        return []
    storage.put_bytes(readable, b"for the owner of the key alone")
    url = signed.partition("?")[0]
    folder = url.removesuffix(readable)
    bucket = folder.removesuffix(f"{storage.prefix}/") if storage.prefix else folder
    requests = {
        "list": ("GET", f"{bucket.rstrip('/')}/?list-type=2&max-keys=1", None),
        "read": ("GET", url, None),
        "write": ("PUT", f"{folder}{writable}", b"written without a key"),
    }
    try:
        with httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as stranger:
            return [name for name, request in requests.items() if _is_allowed(stranger, *request)]
    finally:
        storage.delete([readable, writable])


def _is_allowed(stranger: httpx2.Client, method: str, url: str, content: bytes | None) -> bool:
    try:
        answer = stranger.request(method, url, content=content)
    except httpx2.TransportError as error:
        raise StorageUnavailable(f"{method} without a key: {error}") from error
    if answer.is_success:
        return True
    if answer.status_code in _REFUSALS:
        return False
    raise StorageUnavailable(f"{method} without a key was answered {answer.status_code}")
