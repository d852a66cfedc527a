"""Fixtures of the core tests: a real SQLite file and a real Postgres."""

import shutil

import pytest

from core import migrate
from core.database import Database
from core.models import Base
from core.principals import LOCAL_OWNER
from core.queries.owners import ensure_owner
from core.settings import Settings
from core.storage import Storage
from tests.servers import migrated_template, run_postgres


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    return migrated_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def sqlite(tmp_path, sqlite_template):
    shutil.copy(sqlite_template, tmp_path / "wecolora.db")
    database = Database(Settings(data_dir=tmp_path))
    yield database
    database.close()


@pytest.fixture(scope="session")
def postgres_url():
    with run_postgres() as server:
        yield server.url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url):
    database = Database(Settings(database_url=postgres_url))
    migrate.upgrade(database.engine)
    yield database
    database.close()


@pytest.fixture
def postgres(migrated_postgres):
    with migrated_postgres.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
        ensure_owner(session, LOCAL_OWNER)
    return migrated_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    """Each test that asks for this runs on both."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def storage(tmp_path):
    return Storage.from_settings(Settings(data_dir=tmp_path))
