"""Who asks, and what they may do."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

OWNER_LENGTH: Final = 40
OWNER_PATTERN: Final = re.compile(r"^[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?$")
OWNER_WORDS: Final = f"up to {OWNER_LENGTH} of a-z, 0-9, '.', '_' and '-', a letter or digit at both ends"


class Scope(StrEnum):
    """What a key is good for; each one includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        """Whether this scope is enough where `needed` is asked for."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Principal:
    """Who makes a request.

    Attributes:
        owner: to whom everything belongs that the request makes.
        scope: what it may do.
        key_id: of the key that was shown; None where none is needed.
        address: from where the request came.
    """

    owner: str
    scope: Scope
    key_id: str | None = None
    address: str | None = None

    @property
    def sees_all(self) -> bool:
        """Whether the rows of every owner are in sight."""
        return self.scope is Scope.ADMIN

    def may_see(self, owner: str) -> bool:
        """Whether a row of that owner is in sight; one that is not looks like one that does not exist."""
        return self.sees_all or owner == self.owner


LOCAL_OWNER: Final = "local"
"""Owns everything where no keys are asked for, and what was made before there were owners."""

SYSTEM: Final = Principal(LOCAL_OWNER, Scope.ADMIN)
"""The service itself: workers, the dispatcher, and commands on the machine it runs on."""
