"""API keys: how one looks, how it is kept, and how it is checked.

A key is `wcl_PREFIX_SECRET`. The prefix is stored and shown, so that people can tell keys apart; of the whole key
only the SHA-256 is stored. The secret has 192 random bits: nothing is gained by a slow hash, which guards what
people make up themselves.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from core.errors import InvalidKey
from core.ids import new_id
from core.models import ApiKey
from core.principals import Principal, Scope
from core.queries import keys as queries
from core.queries.owners import ensure_owner

BRAND: Final = "wcl"
_PREFIX_BYTES: Final = 5
_SECRET_BYTES: Final = 24
_KEY: Final = re.compile(rf"^({BRAND}_[0-9a-f]{{{2 * _PREFIX_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}$")


@dataclass(frozen=True)
class NewKey:
    """What a key is to be."""

    owner: str
    name: str
    scope: Scope
    expires_at: datetime | None = None


def add_key(session: Session, wanted: NewKey) -> tuple[ApiKey, str]:
    """Make a key for an owner, who comes into being with the first one.

    Returns:
        The row, and the key itself, which cannot be had again.
    """
    prefix = f"{BRAND}_{secrets.token_hex(_PREFIX_BYTES)}"
    key = f"{prefix}_{secrets.token_hex(_SECRET_BYTES)}"
    ensure_owner(session, wanted.owner)
    row = ApiKey(id=new_id("key"), prefix=prefix, key_sha256=_digest(key), **vars(wanted))
    session.add(row)
    session.flush()
    return row, key


def authenticate(session: Session, presented: str, address: str | None) -> tuple[Principal, bool]:
    """Who shows this key.

    Returns:
        The principal, and whether the use is to be noted (`queries.note_use`).

    Raises:
        InvalidKey: when there is no such key, or it has expired or was revoked.
    """
    match = _KEY.match(presented)
    found = queries.find_by_prefix(session, match[1]) if match else None
    if found is None or not hmac.compare_digest(found.key.key_sha256, _digest(presented)):
        raise InvalidKey("There is no such API key.")
    key = found.key
    # Only whoever holds the key learns what became of it.
    if key.revoked_at is not None:
        raise InvalidKey(f"The API key {key.prefix} was revoked.")
    if found.is_expired:
        raise InvalidKey(f"The API key {key.prefix} has expired.")
    return Principal(key.owner, key.scope, key.id, address), found.is_use_stale


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
