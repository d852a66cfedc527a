"""What keeps production from starting, asked of real servers: each finding names its subject and the way out."""

import subprocess
import sys
import time

import pytest

from core import migrate
from core.database import Database
from core.production import check, check_database, check_queue, check_settings, check_store
from core.settings import Settings, to_environment
from tests.backends import ACCESS_KEY, BUCKET, SECRET_KEY, run_redis, run_store
from tests.servers import free_port, run_postgres

PASSWORD = "a-long-random-one-1"
GOOD = {
    "profile": "production",
    "database_url": f"postgresql+psycopg://wecolora:{PASSWORD}@database/wecolora",
    "broker_url": f"redis://:{PASSWORD}@redis:6379/0",
    "storage_url": "s3://wecolora/objects",
    "s3_endpoint": "http://store:8333",
    "s3_allow_http": True,
    "s3_access_key_id": "wecolora",
    "s3_secret_access_key": PASSWORD,
}


def findings(**changed: object) -> list[str]:
    return [f"{found.subject}: {found.message}" for found in check_settings(Settings(**GOOD | changed))]


def test_settings_of_a_good_deployment_have_no_findings() -> None:
    assert findings() == []


def test_the_embedded_profile_is_not_asked_for_servers_or_secrets(tmp_path) -> None:
    assert check(Settings(data_dir=tmp_path)) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("database_url", None, "setting: WECOLORA_DATABASE_URL must name a Postgres database"),
        ("database_url", "sqlite:///some.db", "setting: WECOLORA_DATABASE_URL must name a Postgres database"),
        ("database_url", "postgres:/wrong", "setting: WECOLORA_DATABASE_URL is no database URL"),
        ("database_url", "postgresql+psycopg://wecolora@host/w", "WECOLORA_DATABASE_URL is missing"),
        ("database_url", "postgresql+psycopg://postgres:postgres@host/w", "is a default that everybody knows"),
        ("database_url", "postgresql+psycopg://u:change-me-please@host/w", "is a default that everybody knows"),
        ("database_url", "postgresql+psycopg://u:qwertz@host/w", "is shorter than 12 characters"),
        ("broker_url", None, "setting: WECOLORA_BROKER_URL must name a broker"),
        ("broker_url", "redis://redis:6379/0", "WECOLORA_BROKER_URL is missing"),
        ("storage_url", "file:///objects", "setting: WECOLORA_STORAGE_URL must name a bucket"),
        ("s3_secret_access_key", "minioadmin", "WECOLORA_S3_SECRET_ACCESS_KEY is a default"),
    ],
)  # fmt: skip
def test_a_missing_or_default_secret_is_named_with_the_way_out(
    name: str, value: str | None, said: str
) -> None:
    found = findings(**{name: value})
    assert len(found) == 1
    assert said in found[0]


def test_a_secret_is_never_in_what_is_said() -> None:
    assert "qwertz" not in findings(database_url="postgresql+psycopg://u:qwertz@host/w")[0]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert len(findings(database_url=None, broker_url=None, storage_url=None)) == 3


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("database_url", "postgresql+psycopg:///wecolora?host=/run/postgresql"),
        ("database_url", "postgresql+psycopg://w@db/w?sslmode=verify-full&sslcert=/run/c&sslkey=/run/k"),
        ("broker_url", "redis+socket:///run/redis.sock"),
    ],
)
def test_servers_that_know_who_asks_need_no_password(name: str, url: str) -> None:
    assert findings(**{name: url}) == []


def test_a_cloud_role_stands_for_keys_where_the_store_is_not_one_s_own() -> None:
    without = {"s3_endpoint": None, "s3_access_key_id": None, "s3_secret_access_key": None}
    assert findings(**without) == []
    assert "is missing" in findings(**without | {"s3_endpoint": "http://store:8333"})[0]


def test_an_unmigrated_database_is_named_with_the_command() -> None:
    with run_postgres() as server:
        settings = Settings(database_url=server.url)
        (empty,) = check_database(settings)
        assert empty.subject == "database"
        assert "is not migrated" in empty.message
        assert "`python -m core.migrate`" in empty.message
        database = Database(settings)
        migrate.upgrade(database.engine)
        assert [*check_database(settings)] == []
        with database.engine.begin() as connection:
            connection.exec_driver_sql("update alembic_version set version_num = '0001'")
        (old,) = check_database(settings)
        assert f"is at revision 0001, this code needs revision {migrate.newest_revision()}" in old.message
        database.close()
        server.stop()
        (away,) = check_database(settings)
        assert "does not answer" in away.message
        server.start()


def test_a_queue_that_forgets_or_lets_anyone_in_is_named() -> None:
    with run_redis(password=PASSWORD) as url:
        assert [*check_queue(Settings(broker_url=url))] == []
        (wrong,) = check_queue(Settings(broker_url=url.replace(PASSWORD, "another-password")))
        assert "refuses" in wrong.message
        assert "another-password" not in wrong.message
    with run_redis("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as url:
        said = [found.message for found in check_queue(Settings(broker_url=url))]
    assert any("allkeys-lru" in message and "`maxmemory-policy noeviction`" in message for message in said)
    assert any("without a password" in message for message in said)


def test_a_queue_that_is_away_is_named() -> None:
    (away,) = check_queue(Settings(broker_url=f"redis://127.0.0.1:{free_port()}/0"))
    assert "does not answer" in away.message


def test_a_store_that_anyone_can_read_is_named_with_what_is_open() -> None:
    with run_store() as store:
        settings = Settings(
            storage_url=store.settings["WECOLORA_STORAGE_URL"],
            s3_endpoint=store.endpoint,
            s3_allow_http=True,
            s3_access_key_id=ACCESS_KEY,
            s3_secret_access_key=SECRET_KEY,
        )
        assert [*check_store(settings)] == []
        for access, said in {
            "Read": "anyone can read objects of s3://wecolora/some/prefix",
            "List": "anyone can list objects",
            "Write": "anyone can write objects",
            "Read,List": "anyone can list and read objects",
        }.items():
            store.shell(f"s3.anonymous.set -bucket {BUCKET} -access {access}")
            (found,) = _when_settled(settings, said)
            assert found.message.startswith(said)
            assert "remove the bucket's public policy" in found.message
        store.shell(f"s3.anonymous.set -bucket {BUCKET} -access none")
        assert _when_settled(settings, None) == []
        (refused,) = check_store(
            settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port()}"})
        )
        assert "could not be asked" in refused.message


def _when_settled(settings: Settings, said: str | None) -> list:
    """What is found when it begins so, None for nothing: the store reads its identities some moments after a change."""
    deadline = time.monotonic() + 20
    while True:
        found = [*check_store(settings)]
        is_settled = not found if said is None else any(each.message.startswith(said) for each in found)
        if is_settled or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


@pytest.mark.parametrize("command", [
    ["uvicorn", "api.main:app", "--port", "0"],
    ["celery", "--quiet", "--app", "worker.app", "worker", "--pool", "threads", "--queues", "jobs"],
    ["worker.dispatcher"],
    ["core.production"],
    ["core.serve", "--port", "0", "--profile", "production"],
])  # fmt: skip
def test_no_process_starts_with_a_default_secret(command: list[str], tmp_path) -> None:
    settings = Settings(**GOOD | {"data_dir": tmp_path, "s3_secret_access_key": "minioadmin"})
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        env=to_environment(settings),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode != 0
    assert "WECOLORA_S3_SECRET_ACCESS_KEY is a default that everybody knows" in ended.stderr
