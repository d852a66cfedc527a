"""Fixtures of the API tests: a real server with its SQLite file, its folder of objects and its queue."""

import shutil
from pathlib import Path

import pytest

from core.settings import Settings
from tests.servers import migrated_template, run_api

CATALOGUE = Path(__file__).with_name("catalogue.json")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    return migrated_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def make_settings(tmp_path, sqlite_template):
    def make(**changed):
        shutil.copy(sqlite_template, tmp_path / "wecolora.db")
        defaults = {"data_dir": tmp_path, "teacher_catalogue": CATALOGUE, "event_poll_seconds": 0.05}
        return Settings(**{**defaults, **changed})

    return make


@pytest.fixture
def api(make_settings):
    with run_api(make_settings()) as running:
        yield running
