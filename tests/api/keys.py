"""Clients with keys, for tests of a service that asks for them."""

import httpx2

from core.keys import NewKey, add_key
from core.principals import Scope


def make_key(api, owner, scope=Scope.WRITE, expires_at=None):
    """A key as `core.admin` makes the first one."""
    with api.database.write() as session:
        row, key = add_key(session, NewKey(owner, "test", scope, expires_at))
    return row.id, key


def as_owner(api, owner, scope=Scope.WRITE):
    """A client that shows a key of that owner."""
    return with_key(api, make_key(api, owner, scope)[1])


def with_key(api, key):
    return httpx2.Client(base_url=api.url, timeout=20, headers={"Authorization": f"Bearer {key}"})


class View:
    """The same running API as another client sees it; what `tests.api.rows` takes."""

    def __init__(self, api, client):
        self.client, self.database, self.resources, self.settings = (
            client,
            api.database,
            api.resources,
            api.settings,
        )
