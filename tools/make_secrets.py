"""Make the secrets that ``docker-compose.yml`` mounts: ``./run secrets [FOLDER]``. Needs nothing but Python.

Files that exist are left as they are: a password that a database was made with cannot be made anew. The folder is for
its owner alone; the files in it can be read by the users of the containers, who are not the owner.
"""

import json
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "secrets"
ACCESS_KEY = "wecolora"


def make_secrets(folder: Path) -> list[str]:
    """Write what is missing.

    Returns:
        The names of the files written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    written: list[str] = []

    def keep(name: str, content: str) -> str:
        path = folder / name
        if not path.exists():
            path.write_text(content, encoding="utf-8")
            path.chmod(0o444)
            written.append(name)
        return path.read_text(encoding="utf-8")

    postgres = keep("postgres_password", secrets.token_urlsafe(32))
    keep("database_url", f"postgresql+psycopg://wecolora:{postgres}@postgres:5432/wecolora")
    redis = keep("redis_password", secrets.token_urlsafe(32))
    keep("redis.conf", f"requirepass {redis}\n")
    keep("broker_url", f"redis://:{redis}@redis:6379/0")
    key = keep("s3_access_key_id", f"{ACCESS_KEY}-{secrets.token_hex(4)}")
    secret = keep("s3_secret_access_key", secrets.token_urlsafe(32))
    keep("s3_identities.json", _identities(key, secret))
    return written


def _identities(key: str, secret: str) -> str:
    """SeaweedFS's list of who may do what: one identity, and nobody without a key."""
    identity = {
        "name": "wecolora",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return json.dumps({"identities": [identity]}, indent=1) + "\n"


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    names = make_secrets(chosen)
    sys.stdout.write(f"{chosen}: {', '.join(names) if names else 'everything is there already'}\n")
