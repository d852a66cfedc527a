"""Rows that nobody waits for in a test: ten thousand jobs to page through, and an ingest in the middle."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import insert

from core.database import Database
from core.ids import new_id
from core.models import Dataset, Job
from core.settings import Settings
from core.states import DatasetState, JobState
from tests.e2e.dashboard.browser import LONG_TASKS
from tests.e2e.dashboard.conftest import OpenTab, sign_in
from tests.e2e.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MANY = 10_000
TURNS = 15
LONGEST_TASK_MS = 200
LONGEST_TURN_SECONDS = 5.0
"""Most of it is the machine's: other tests may run beside this one."""


@pytest.fixture(scope="module")
def many_jobs(locked: Service) -> None:
    """Finished jobs, put straight into the database: nobody waits for ten thousand trainings."""
    database = Database(Settings(data_dir=locked.data_dir))
    dataset_id = new_id("ds")
    began = datetime.now(UTC) - timedelta(days=20)
    common = {
        "owner": "lab", "dataset_id": dataset_id, "given": {}, "state": JobState.SUCCEEDED,
        "teacher": {"name": "vit_base_patch16_224", "depth": 12},
        "options": {"method": "wecolora", "recipe": "best", "r": 2, "k": 128},
        "result": {"student": {"probe_accuracy": 0.93}},
    }  # fmt: skip
    rows = []
    for number, job_id in enumerate(sorted(new_id("job") for _ in range(MANY))):
        moment = began + timedelta(seconds=number)
        times = {"created_at": moment, "started_at": moment, "finished_at": moment + timedelta(minutes=5)}
        rows.append({**common, **times, "id": job_id, "name": f"study {number:05d}"})
    with database.write() as session:
        state = DatasetState.READY
        session.add(Dataset(id=dataset_id, owner="lab", name="slides", state=state, image_count=10))
        session.flush()
        session.execute(insert(Job), rows)
    database.close()


def test_a_dataset_that_is_read_says_how_far_it_is(locked: Service, open_tab: OpenTab) -> None:
    database = Database(Settings(data_dir=locked.data_dir))
    row = Dataset(
        id=new_id("ds"), owner="lab", name="slides", state=DatasetState.INGESTING, worker_id="elsewhere"
    )
    row.lease_expires_at = datetime.now(UTC) + timedelta(hours=1)
    row.progress = {"parts": 3, "total_parts": 12, "images": 2950, "skipped": 7}
    with database.write() as session:
        session.add(row)
        session.flush()
        dataset_id = row.id
    tab = open_tab(locked)
    page = sign_in(tab, locked)
    page.get_by_role("link", name="Datasets", exact=True).click()
    page.locator(f"a[href$='{dataset_id}']").click()
    page.get_by_text("2,950 images taken, 7 files left out · 3 of 12 parts").wait_for()
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")
    with database.write() as session:
        session.get(Dataset, dataset_id).progress = {
            "parts": 6,
            "total_parts": 12,
            "images": 5900,
            "skipped": 7,
        }
    # It goes on by itself.
    page.get_by_text("5,900 images taken").wait_for()
    assert tab.violations() == []
    database.close()


@pytest.mark.quiet
def test_ten_thousand_jobs_are_paged_and_searched_without_a_stall(
    locked: Service, many_jobs: None, open_tab: OpenTab, record_property: Callable[[str, object], None]
) -> None:
    tab = open_tab(locked)
    tab.page.add_init_script(LONG_TASKS)
    page = sign_in(tab, locked)
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("link", name=f"study {MANY - 1:05d}").wait_for()
    page.evaluate("longTasks.length = 0")
    seconds = []
    for turn in range(1, TURNS + 1):
        began = time.monotonic()
        page.get_by_role("button", name="Older").click()
        page.get_by_role("link", name=f"study {MANY - 1 - 50 * turn:05d}").wait_for()
        seconds.append(time.monotonic() - began)
    page.get_by_role("searchbox", name="Search the jobs by name").fill("STUDY 00042")
    page.get_by_role("link", name="study 00042").wait_for()
    expect(page.locator("table tbody tr")).to_have_count(1)
    assert "name=STUDY" in page.url
    # The way back is the browser's, and the field goes with it.
    page.go_back()
    page.get_by_role("link", name=f"study {MANY - 1 - 50 * (TURNS - 1):05d}").wait_for()
    expect(page.get_by_role("searchbox")).to_have_value("")
    longest = max(page.evaluate("longTasks"), default=0.0)
    record_property("longest_task_ms", longest)
    record_property("longest_turn_seconds", max(seconds))
    assert longest < LONGEST_TASK_MS
    assert sorted(seconds)[len(seconds) // 2] < LONGEST_TURN_SECONDS
    tab.expect_no_complaints("401")
