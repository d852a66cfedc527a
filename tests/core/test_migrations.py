"""The migrations make the tables that the code describes."""

import subprocess
import sys

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from core import migrate
from core.database import Database
from core.models import Base
from core.settings import Settings


def _differences(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)


def test_models_and_migrations_agree(database):
    assert _differences(database) == []
    assert migrate.is_current(database.engine)


def test_an_empty_database_is_not_current_and_upgrading_twice_is_harmless(tmp_path):
    database = Database(Settings(data_dir=tmp_path))
    assert not migrate.is_current(database.engine)
    migrate.upgrade(database.engine)
    migrate.upgrade(database.engine)
    assert migrate.is_current(database.engine)
    database.close()


def test_several_processes_that_start_together_migrate_once(tmp_path):
    command = [sys.executable, "-m", "core.migrate"]
    variables = {"PATH": "/usr/bin:/bin", "WECOLORA_DATA_DIR": str(tmp_path)}
    processes = [subprocess.Popen(command, env=variables, stderr=subprocess.PIPE) for _ in range(3)]
    logs = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], logs
    assert sum("Running upgrade" in log for log in logs) == 1
    database = Database(Settings(data_dir=tmp_path))
    assert _differences(database) == []
    database.close()


def test_the_first_migration_can_be_undone(tmp_path):
    database = Database(Settings(data_dir=tmp_path))
    migrate.upgrade(database.engine)
    config = migrate.make_config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.close()
