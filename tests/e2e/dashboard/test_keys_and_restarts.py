"""A service that asks for keys, and that goes away while the page is open."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from tests.e2e.dashboard.conftest import OpenTab, make_key
from tests.e2e.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def restarted(data_dir: Path) -> Iterator[Service]:
    service = Service(data_dir, WECOLORA_AUTH="keys")
    service.http.headers["Authorization"] = f"Bearer {make_key(data_dir)}"
    try:
        yield service
    finally:
        service.stop()


def test_a_page_that_was_given_a_key_outlives_a_restart_in_mid_job(
    restarted: Service, data_dir: Path, open_tab: OpenTab, digits: dict[str, bytes], tmp_path: Path
) -> None:
    key = restarted.http.headers["Authorization"].removeprefix("Bearer ")
    dataset = restarted.upload("digits", ("digits.zip", digits["unlabelled"]))
    tab = open_tab(restarted)
    page = tab.open("jobs")
    page.get_by_role("textbox", name="API key").fill("wcl_wrong")
    page.get_by_role("button", name="Use this key").click()
    headers = {"Authorization": "Bearer wcl_wrong"}
    refusal = httpx2.get(f"{restarted.url}/me", headers=headers).json()
    page.get_by_text(refusal["detail"]).wait_for()
    assert page.get_by_role("heading", level=1).inner_text() == "API key"
    page.get_by_role("textbox", name="API key").fill(key)
    page.get_by_role("button", name="Use this key").click()
    page.get_by_role("heading", level=1, name="Jobs").wait_for()

    # Begun only now, so that the service is stopped in the middle also where the browser is slow.
    options = {"teacher": "sample-digits", "k": 8, "epochs": 24, "batch_size": 16, "seed": 7}
    job_id = restarted.post("/jobs", json={**options, "dataset_id": dataset})["id"]
    tab.open(f"jobs/{job_id}")
    page.get_by_role("img", name="Loss over").wait_for(timeout=240_000)
    restarted.wait_for_step(job_id, 20)

    port = restarted.url.rpartition(":")[2]
    restarted.stop()
    page.get_by_text("The service does not answer").wait_for()
    tab.shoot("connection-lost")
    again = Service(data_dir, ["--port", port], WECOLORA_AUTH="keys")
    try:
        again.http.headers["Authorization"] = f"Bearer {key}"
        page.get_by_text("The service does not answer").wait_for(state="hidden")
        tab.wait_for_state("succeeded")
        job = again.job(job_id)
        assert (job["state"], job["attempt"]) == ("succeeded", 2)
        steps: list[int] = []
        for event in again.events(job_id):
            if event["type"] == "metric":
                steps = [step for step in steps if step < event["data"]["step"]] + [event["data"]["step"]]
        curve = page.get_by_role("img", name="Loss over")
        expect(curve).to_have_attribute("aria-label", re.compile(f"over {len(steps)} reported steps"))
        with page.expect_download() as download:
            page.get_by_role("button", name="student.zip").click()
        with zipfile.ZipFile(download.value.path()) as bundle:
            assert "student/model.safetensors" in bundle.namelist()
    finally:
        again.stop()
    # The key is this tab's alone.
    assert page.evaluate("[Object.keys(localStorage).filter((k) => k.includes('key')), document.cookie]") == [
        [],
        "",
    ]
