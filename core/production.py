"""What must hold before the production profile starts: `python -m core.production` checks it and says so.

A service that starts with a password from a manual, with objects that anyone can fetch, or on tables of another
version does harm before anybody notices. So every process checks this first, and does not start: all that is
wrong is named at once, each with the way out. The embedded profile is on loopback and has no such secrets.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import redis
from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from core import migrate
from core.broker import CONNECT_SECONDS
from core.database import Database
from core.errors import ObjectMissing, StorageUnavailable
from core.logs import configure_logging
from core.public_access import open_to_anyone
from core.settings import Settings, get_settings, variable

LEAST_SECRET_CHARS: Final = 12
PLACEHOLDERS: Final = ("changeme", "change-me", "change_me", "example", "replace", "password", "minioadmin")
_SOCKET_SCHEMES: Final = ("redis+socket", "unix")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and the way out."""

    subject: Literal["setting", "secret", "database", "queue", "store"]
    message: str


def check(settings: Settings) -> list[Finding]:
    """Everything that keeps this deployment from starting; nothing is asked of servers with wrong settings."""
    if settings.profile != "production":
        return []
    return [*check_settings(settings)] or [
        *check_database(settings),
        *check_queue(settings),
        *check_store(settings),
    ]


def refuse_unless_ready(settings: Settings) -> None:
    """Return when the deployment may start.

    Raises:
        SystemExit: after every finding was logged.
    """
    findings = check(settings)
    for finding in findings:
        log.critical("refusing to start, %s: %s", finding.subject, finding.message)
    if findings:
        raise SystemExit(1)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Whether the servers are named and the secrets are real ones."""
    yield from _check_database_url(settings.database_url)
    yield from _check_broker_url(settings.broker_url)
    yield from _check_storage(settings)


def check_database(settings: Settings) -> Iterator[Finding]:
    """Whether the database answers and has the tables of this code."""
    database = Database(settings)
    try:
        found = migrate.current_revision(database.engine)
    except SQLAlchemyError as error:
        yield Finding("database", f"it does not answer: {_first_line(error)}; is it running and reachable?")
        return
    finally:
        database.close()
    needed = migrate.newest_revision()
    if found != needed:
        state = "is not migrated" if found is None else f"is at revision {found}"
        yield Finding(
            "database", f"it {state}, this code needs revision {needed}; run `python -m core.migrate` once"
        )


def check_queue(settings: Settings) -> Iterator[Finding]:
    """Whether Redis answers, asks for the password, and never drops what it was given."""
    url = settings.broker_url or ""
    if not url.startswith(("redis://", "rediss://", "valkey://", "valkeys://")):
        return
    url = url.replace("valkey", "redis", 1)
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS) as client:
            policy = client.info("memory").get("maxmemory_policy")
    except redis.RedisError as error:
        yield Finding("queue", f"Redis does not answer or refuses: {_first_line(error)}")
        return
    if policy != "noeviction":
        yield Finding(
            "queue", f"Redis drops keys when its memory is full ({policy}); set `maxmemory-policy noeviction`"
        )
    if _lets_anyone_in(url):
        yield Finding("queue", "Redis lets anyone in without a password; set `requirepass`, or an ACL")


def check_store(settings: Settings) -> Iterator[Finding]:
    """Whether the bucket is closed to those who have no key."""
    try:
        allowed = open_to_anyone(settings)
    except StorageUnavailable as error:
        yield Finding("store", f"it could not be asked what it allows: {error.reason}")
        return
    except ObjectMissing:
        yield Finding(
            "store", f"there is no bucket for {settings.storage_url}; make it, without public access"
        )
        return
    if allowed:
        yield Finding(
            "store",
            f"anyone can {' and '.join(allowed)} objects of {settings.storage_url} without a key; "
            "remove the bucket's public policy or ACL, and the store's anonymous identity",
        )


def _check_database_url(url: str | None) -> Iterator[Finding]:
    name = variable("database_url")
    try:
        parsed = make_url(url) if url else None
    except ArgumentError:
        yield Finding(
            "setting", f"{name} is no database URL; write postgresql+psycopg://user:password@host/name"
        )
        return
    if parsed is None or parsed.get_backend_name() != "postgresql":
        yield Finding(
            "setting", f"{name} must name a Postgres database: postgresql+psycopg://user:password@host/name"
        )
        return
    # On a Unix socket, and with a client certificate, Postgres knows who asks without a password.
    if parsed.host and "sslcert" not in parsed.query:
        password = None if parsed.password is None else str(parsed.password)
        yield from _check_secret(f"the password in {name}", password, parsed.username)


def _check_broker_url(url: str | None) -> Iterator[Finding]:
    name = variable("broker_url")
    if url is None:
        yield Finding("setting", f"{name} must name a broker: redis://:password@host:6379/0")
        return
    parsed = urlsplit(url)
    if parsed.scheme not in _SOCKET_SCHEMES:
        password = None if parsed.password is None else unquote(parsed.password)
        yield from _check_secret(f"the password in {name}", password, parsed.username)


def _check_storage(settings: Settings) -> Iterator[Finding]:
    name = variable("storage_url")
    if urlsplit(settings.storage_url or "").scheme != "s3":
        yield Finding("setting", f"{name} must name a bucket: s3://bucket/prefix")
        return
    key, secret = _reveal(settings.s3_access_key_id), _reveal(settings.s3_secret_access_key)
    # Without an endpoint the store is AWS, where a role of the machine stands for the keys.
    if settings.s3_endpoint or secret is not None:
        yield from _check_secret(variable("s3_secret_access_key"), secret, key)


def _check_secret(name: str, secret: str | None, user: str | None) -> Iterator[Finding]:
    way_out = f"give a random one of at least {LEAST_SECRET_CHARS} characters (`./run secrets` makes them)"
    if not secret:
        yield Finding("secret", f"{name} is missing; {way_out}")
    elif secret == user or any(word in secret.lower() for word in PLACEHOLDERS):
        yield Finding("secret", f"{name} is a default that everybody knows; {way_out}")
    elif len(secret) < LEAST_SECRET_CHARS:
        yield Finding("secret", f"{name} is shorter than {LEAST_SECRET_CHARS} characters; {way_out}")


def _lets_anyone_in(url: str) -> bool:
    parsed = urlsplit(url)
    anonymous = parsed._replace(netloc=parsed.netloc.rpartition("@")[2]).geturl()
    try:
        with redis.Redis.from_url(anonymous, socket_connect_timeout=CONNECT_SECONDS) as client:
            return bool(client.ping())
    except (redis.AuthenticationError, redis.ResponseError):
        return False


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


if __name__ == "__main__":
    configure_logging(get_settings())
    refuse_unless_ready(get_settings())
    log.info("ready to start with profile %s", get_settings().profile)
