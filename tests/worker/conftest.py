"""A worker on a real database, with quick heartbeats."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from tests.servers import migrated_template
from worker.runtime import Runtime


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    shutil.copy(sqlite_template, tmp_path / "wecolora.db")
    return Settings(
        data_dir=tmp_path,
        lease_seconds=5,
        heartbeat_seconds=0.1,
        cancel_grace_seconds=1,
        resend_after_seconds=0.2,
        dispatcher_interval_seconds=0.1,
        max_attempts=2,
        spare_trainer=False,
    )


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    runtime = Runtime.open(settings)
    yield runtime
    runtime.close()
