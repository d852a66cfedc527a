"""The `Content-Digest` header (RFC 9530)."""

import base64
import binascii
import re

from core.errors import ChecksumMismatch, FieldProblem, InvalidFields

FIELD = "Content-Digest"
_SHA256 = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]*):")
_SHA256_BYTES = 32


def parse_content_digest(header: str | None) -> str | None:
    """The announced sha256 in hexadecimal; None when the header announces none.

    Raises:
        InvalidFields: when it announces one that cannot be read.
    """
    if header is None or "sha-256" not in header:
        return None
    match = _SHA256.search(header)
    try:
        digest = base64.b64decode(match[1], validate=True) if match else b""
    except binascii.Error:
        digest = b""
    if len(digest) != _SHA256_BYTES:
        message = "the digest cannot be read"
        raise InvalidFields(FieldProblem(FIELD, message, "sha-256=:BASE64 OF 32 BYTES:", header[:200]))
    return digest.hex()


def content_digest(sha256: str) -> str:
    """The header that announces a hash."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def check_digest(announced: str | None, received: str) -> None:
    """Compare.

    Raises:
        ChecksumMismatch: when they differ.
    """
    if announced is not None and announced != received:
        raise ChecksumMismatch(FIELD, announced, received)
