"""Uploads that go straight from a client into the bucket, by URLs that are signed for one object each.

What is signed is the key, the length and the SHA-256: the store itself refuses anything else under such a URL. obstore
signs the key alone, so this is botocore's part; everything else that is stored goes by `core/storage.py`.
"""

import base64
import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

from core.errors import ObjectMissing, StorageUnavailable
from core.settings import Settings
from core.storage import Storage

CHECKSUM_HEADER: Final = "x-amz-checksum-sha256"
CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SignedPut:
    """What a client sends its bytes with; their length goes with them, as always."""

    url: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Stored:
    """What the store says it has; a store that keeps no checksums knows no hash."""

    size_bytes: int
    sha256: str | None


class DirectUploads:
    """Signs uploads into the bucket of a deployment, and asks for what has arrived."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._bucket, self._prefix = urlsplit(settings.storage_url or "").netloc, prefix
        self._inner = _client(settings, settings.s3_endpoint)
        # The host is signed, too: the URL must name the store as clients do.
        self._outer = _client(settings, settings.s3_public_endpoint or settings.s3_endpoint)

    @classmethod
    def from_settings(cls, settings: Settings, storage: Storage) -> "DirectUploads | None":
        """None where parts go through the API: without the setting, and on a local folder."""
        is_bucket = urlsplit(settings.storage_url or "").scheme == "s3"
        return cls(settings, storage.prefix) if settings.direct_uploads and is_bucket else None

    def sign(self, key: str, size_bytes: int, sha256: str, seconds: int) -> SignedPut:
        """Allow one object to be stored: these bytes, within this time.

        Raises:
            StorageUnavailable: there are no credentials to sign with.
        """
        from botocore.exceptions import BotoCoreError

        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        named = {"Bucket": self._bucket, "Key": self._full(key)}
        wanted = {**named, "ContentLength": size_bytes, "ChecksumSHA256": checksum}
        try:
            url = self._outer.generate_presigned_url("put_object", Params=wanted, ExpiresIn=seconds)
        except BotoCoreError as error:
            raise _unavailable(key, error) from error
        return SignedPut(str(url), {CHECKSUM_HEADER: checksum})

    @cached_property
    def origin(self) -> str:
        """Scheme and host of the URLs, which a page must be allowed to send to.

        Raises:
            StorageUnavailable: there are no credentials to sign with.
        """
        url = urlsplit(self.sign("origin", 0, hashlib.sha256().hexdigest(), 1).url)
        return f"{url.scheme}://{url.netloc}"

    def stored(self, key: str) -> Stored:
        """What lies under a key.

        Raises:
            ObjectMissing: nothing does.
            StorageUnavailable: the store does not answer or refuses.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self._inner.head_object(Bucket=self._bucket, Key=self._full(key), ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise ObjectMissing(key) from error
            raise _unavailable(key, error) from error
        except BotoCoreError as error:
            raise _unavailable(key, error) from error
        checksum = found.get("ChecksumSHA256")
        sha256 = base64.b64decode(checksum).hex() if checksum else None
        return Stored(int(found["ContentLength"]), sha256)

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key


def _client(settings: Settings, endpoint: str | None) -> Any:
    # Imported where it is used: most deployments have no direct uploads.
    import botocore.session
    from botocore.config import Config

    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return botocore.session.Session().create_client(
        "s3",
        region_name=settings.s3_region,
        endpoint_url=endpoint,
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint else "auto"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "max_attempts": 3},
        ),
    )


def _unavailable(key: str, error: Exception) -> StorageUnavailable:
    log.warning("object %s: %s", key, error)
    return StorageUnavailable(str(error))
