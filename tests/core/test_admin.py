"""The command that makes the first key of a fresh database."""

import subprocess
import sys

import pytest

from core.keys import authenticate
from core.principals import Scope
from core.queries import audit


@pytest.fixture
def admin(tmp_path, sqlite):
    """Run the command on a migrated database."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "core.admin", *arguments],
            env={"PATH": "/usr/bin:/bin", "WECOLORA_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_the_first_key_is_made_listed_and_revoked(admin, sqlite):
    made = admin("create-key", "--owner", "lab")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    with sqlite.read() as session:
        principal, _ = authenticate(session, key, None)
        assert (principal.owner, principal.scope) == ("lab", Scope.ADMIN)
        (entry,) = audit.list_entries(session, audit.AuditFilter(), None, 10).rows
        assert (entry.action, entry.target, entry.address) == ("key.create", principal.key_id, None)
    listed = admin("list-keys").stdout
    assert principal.key_id in listed
    assert key not in listed
    assert admin("revoke-key", principal.key_id).returncode == 0
    assert "revoked" in admin("list-keys").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create-key", "--owner", "A B"), "is not a name of an owner"),
        (("revoke-key", "key_none"), "There is no key 'key_none'."),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(admin, arguments, said):
    done = admin(*arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_was_not_migrated_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "core.admin", "create-key", "--owner", "lab"],
        env={"PATH": "/usr/bin:/bin", "WECOLORA_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "python -m core.migrate" in done.stderr
