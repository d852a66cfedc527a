"""Commands for whoever runs the service, on a machine that reaches its database: `python -m core.admin`."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.errors import ServiceError
from core.keys import NewKey, add_key
from core.principals import OWNER_PATTERN, OWNER_WORDS, SYSTEM, Scope
from core.queries import audit, keys
from core.queries.paging import ListFilter
from core.settings import get_settings

_PAGE = 100


def create_key(database: Database, wanted: NewKey) -> str:
    """Make a key; returns it, and nothing can show it again."""
    with database.write() as session:
        row, key = add_key(session, wanted)
        detail = {"owner": row.owner, "scope": row.scope.value, "prefix": row.prefix}
        audit.record(session, SYSTEM, "key.create", row.id, detail)
    return key


def list_keys(database: Database) -> list[str]:
    """One line a key, newest first."""
    lines, cursor = [f"{'id':31} {'owner':20} {'scope':6} {'prefix':15} {'state':8} name"], None
    with database.read() as session:
        while True:
            page = keys.list_keys(session, ListFilter(SYSTEM), cursor, _PAGE)
            for key in page.rows:
                state = "revoked" if key.revoked_at else "expires" if key.expires_at else "good"
                if key.expires_at and key.expires_at <= datetime.now(UTC) and not key.revoked_at:
                    state = "expired"
                lines.append(f"{key.id:31} {key.owner:20} {key.scope:6} {key.prefix:15} {state:8} {key.name}")
            cursor = page.next_cursor
            if cursor is None:
                return lines


def revoke_key(database: Database, key_id: str) -> None:
    """Make a key useless.

    Raises:
        NotFound: when there is none of that id.
    """
    with database.write() as session:
        _, is_new = keys.revoke_key(session, key_id, SYSTEM)
        if is_new:
            audit.record(session, SYSTEM, "key.revoke", key_id)


def _owner(text: str) -> str:
    if not OWNER_PATTERN.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of an owner: {OWNER_WORDS}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="admin", description="Keys of the service, without its HTTP interface."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create-key", help="make a key, and print it once")
    create.add_argument(
        "--owner", type=_owner, required=True, help="to whom belongs what is made with the key"
    )
    create.add_argument(
        "--scope", type=Scope, choices=list(Scope), default=Scope.ADMIN, help="default: admin"
    )
    create.add_argument("--name", default="made on the service's machine", help="what it is for")
    create.add_argument("--days", type=float, help="how long it is good (default: for ever)")
    commands.add_parser("list-keys", help="all keys, without their secrets")
    revoke = commands.add_parser("revoke-key", help="make a key useless")
    revoke.add_argument("id")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and do it; prints a key and nothing else to standard output."""
    options = _parser().parse_args(arguments)
    database = Database(get_settings())
    try:
        match options.command:
            case "create-key":
                expires_at = datetime.now(UTC) + timedelta(days=options.days) if options.days else None
                wanted = NewKey(options.owner, options.name, options.scope, expires_at)
                sys.stdout.write(f"{create_key(database, wanted)}\n")
                sys.stderr.write("Keep it: it cannot be shown again.\n")
            case "list-keys":
                sys.stdout.write("\n".join(list_keys(database)) + "\n")
            case _:
                revoke_key(database, options.id)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except DBAPIError as error:
        reason = str(error.orig).strip()
        sys.stderr.write(
            f"The database does not answer or is not migrated (python -m core.migrate): {reason}\n"
        )
        return 1
    finally:
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
