"""The migrations make the tables that the code describes."""

import json
import subprocess
import sys

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError, OperationalError

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


def test_revisions_come_all_together_or_not_at_all(tmp_path):
    """One transaction holds them: what fails in the middle, or another process, finds no half of it."""
    database = Database(Settings(data_dir=tmp_path))
    with database.engine.begin() as connection:
        connection.execute(text("create table deletions (prefix text)"))  # a later revision makes one, too
    with pytest.raises(OperationalError, match="already exists"):
        migrate.upgrade(database.engine)
    assert inspect(database.engine).get_table_names() == ["deletions"]
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


@pytest.fixture(params=["sqlite", "postgres"])
def first_schema(request, tmp_path):
    """A database as the first release made it."""
    if request.param == "sqlite":
        settings = Settings(data_dir=tmp_path)
    else:
        url = request.getfixturevalue("postgres_url")
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("create database first_schema")
        settings = Settings(database_url=url.replace("/postgres", "/first_schema"))
    database = Database(settings)
    config = migrate.make_config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    yield database
    database.close()


def test_a_job_of_the_first_release_keeps_its_events_and_stays_the_papers(first_schema):
    stamps = "'2026-01-01', '2026-01-01'"
    with first_schema.engine.begin() as connection:
        for statement in (
            "insert into datasets (id, name, state, attempt, failed_attempts, send_count, created_at, updated_at) "
            f"values ('ds_1', 'photos', 'ready', 0, 0, 0, {stamps})",
            "insert into jobs (id, state, phase, teacher, options, dataset_id, event_count, attempt, failed_attempts, "
            "send_count, created_at, updated_at) "
            f"values ('job_1', 'running', 'merging', '{{}}', '{{\"r\"\\: 3}}', 'ds_1', 1, 1, 0, 0, {stamps})",
            "insert into teachers (id, name, architecture, image_size, key, size_bytes, sha256, depth, embed_dim, "
            f"parameters, created_at, updated_at) values ('tch_1', 'mine', 'vit', 32, 'k', 1, 'x', 2, 8, 9, {stamps})",
            "insert into job_events (job_id, seq, created_at, level, type, message, data, attempt) "
            "values ('job_1', 1, '2026-01-01', 'info', 'log', 'hello', '{}', 1)",
        ):
            connection.execute(text(statement))
    migrate.upgrade(first_schema.engine)
    with first_schema.engine.begin() as connection:
        given, options, phase = connection.execute(text("select given, options, phase from jobs")).one()
        given, options = (json.loads(each) if isinstance(each, str) else each for each in (given, options))
        assert (given, phase) == ({"r": 3}, "merging")
        assert options == {"r": 3, "method": "wecolora", "recipe": "paper"}
        assert connection.execute(text("select message from job_events")).scalars().all() == ["hello"]
        for table in ("datasets", "teachers", "jobs"):
            assert connection.execute(text(f"select owner from {table}")).scalars().all() == ["local"]
        connection.execute(text("update jobs set phase = 'preparing'"))
    for wrong in ("phase = 'dancing'", "state = 'asleep'", "dataset_id = 'ds_2'", "owner = 'nobody'"):
        with pytest.raises(IntegrityError), first_schema.engine.begin() as connection:
            connection.execute(text(f"update jobs set {wrong}"))
    assert _differences(first_schema) == []
    config = migrate.make_config()
    with first_schema.engine.connect() as connection, migrate.tables_may_be_copied(connection):
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        connection.commit()
    with first_schema.engine.connect() as connection:
        assert connection.execute(text("select message from job_events")).scalars().all() == ["hello"]
        assert "owner" not in {column["name"] for column in inspect(connection).get_columns("jobs")}
    for wrong in ("phase = 'dancing'", "state = 'asleep'", "dataset_id = 'ds_2'"):
        with pytest.raises(IntegrityError), first_schema.engine.begin() as connection:
            connection.execute(text(f"update jobs set {wrong}"))
