"""What holds on every page: readable by a screen reader, in the dark, on a phone and on a wall."""

import csv
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.dashboard.browser import LAPTOP, PHONE, WALL, Tab
from tests.e2e.dashboard.conftest import BROKEN, OpenTab
from tests.e2e.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
IN_DOCUMENTS = ("job-succeeded", "new-job", "dataset-labelled")
"""Pages whose windows are pictures in docs/images."""
LOOKS = {
    "light": {"viewport": LAPTOP, "color_scheme": "light"},
    "dark": {"viewport": LAPTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "dark", "has_touch": True},
    "wall": {"viewport": WALL, "color_scheme": "light"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_accessible_and_fits(
    service: Service, open_tab: OpenTab, finished: dict[str, Any], look: str
) -> None:
    tab = open_tab(service, **LOOKS[look])
    pages = {
        "jobs": "jobs",
        "jobs-none": "jobs?state=cancelled&cursor=job_0",
        "job-succeeded": f"jobs/{finished['good']}",
        "job-failed": f"jobs/{finished['bad']}",
        "new-job": f"jobs/new?from={finished['good']}",
        "compare": f'compare?jobs=["{finished["good"]}"]',
        "datasets": "datasets",
        "dataset": f"datasets/{finished['images']}",
        "dataset-labelled": f"datasets/{finished['probe']}",
        "usage": "usage",
        "webhooks": "webhooks",
        "no-such-page": "nowhere",
    }
    found = {}
    for name, path in pages.items():
        page = tab.open(path)
        tab.settle()
        if name == "job-succeeded":
            page.get_by_role("heading", name="Attention").wait_for()
            page.get_by_role("img", name="Loss over").wait_for()
        if name == "new-job":
            page.locator("[data-plan=current]").wait_for()
        tab.shoot(f"{name}-{look}")
        if look == "light" and name in IN_DOCUMENTS:
            tab.shoot(f"window-{name}", full=False)
        if look == "light" and name == "job-succeeded":
            page.get_by_role("img", name="Map of").first.focus()
            page.keyboard.press("ArrowRight")
            page.get_by_role("heading", name="Latent spaces").evaluate("(each) => each.scrollIntoView()")
            page.mouse.wheel(0, -80)  # from below the bar at the top
            page.wait_for_timeout(200)
            tab.shoot("window-job-pictures", full=False)
        if name == "new-job":
            page.get_by_text("Advanced options").click()
        problems = tab.violations() + (["wider than the window"] if tab.overflows() else [])
        if problems:
            found[name] = problems
    assert found == {}
    tab.expect_no_complaints()


def test_a_dataset_shows_its_images_what_they_are_like_and_what_was_left_out(
    service: Service, tab: Tab, finished: dict[str, Any]
) -> None:
    page = tab.open(f"datasets/{finished['images']}")
    dataset = service.get(f"/datasets/{finished['images']}")
    layout = dataset["contact_sheet"]
    sheet = page.get_by_role("img", name=f"{layout['tiles']} of the 200 images")
    sheet.wait_for()
    page.wait_for_function("(image) => image.naturalWidth > 0", arg=sheet.element_handle())
    assert sheet.evaluate("(image) => image.naturalWidth") == layout["columns"] * layout["tile_pixels"]
    sizes = page.get_by_role("table", name="Images by the shorter side, in pixels")
    assert "32 to 47 px" in sizes.get_by_role("row").nth(1).inner_text()
    assert (
        "200"
        in page.get_by_role("table", name="Images by format").get_by_role("row", name="PNG").inner_text()
    )
    skipped = page.get_by_role("table", name="Files left out")
    report = service.get(f"/datasets/{finished['images']}/report")
    assert report["skipped_count"] == BROKEN + 1
    expect(skipped.get_by_role("row")).to_have_count(26)
    page.get_by_role("button", name="Next").click()
    expect(skipped.get_by_role("row")).to_have_count(1 + BROKEN + 1 - 25)
    page.get_by_role("searchbox", name="Search: Files left out").fill("TORN/07")
    page.get_by_text("1 to 1 of 1").wait_for()
    expect(skipped).to_contain_text("torn/07.jpg")
    page.goto(f"{service.url}/dashboard/datasets/{finished['probe']}")
    classes = page.get_by_role("table", name="Images of each class")
    classes.wait_for()
    counts = service.get(f"/datasets/{finished['probe']}")["statistics"]["class_counts"]
    shown = [row.inner_text().split() for row in classes.get_by_role("row").all()[1:]]
    assert shown == [[name, str(count)] for name, count in counts.items()]


def test_a_job_can_be_reached_and_read_with_the_keyboard(
    service: Service, open_tab: OpenTab, finished: dict[str, Any]
) -> None:
    tab = open_tab(service)
    page = tab.open("jobs?state=succeeded")
    page.get_by_role("link", name="digits, half").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
        if reached[-1] == "digits, half":
            break
    assert reached[-1] == "digits, half"
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/job_*")
    page.get_by_role("heading", level=1, name="digits, half").wait_for()


def test_the_address_of_a_filtered_list_can_be_shared(
    service: Service, open_tab: OpenTab, finished: dict[str, Any], tmp_path: Path
) -> None:
    tab = open_tab(service)
    page = tab.open("jobs?state=failed")
    page.get_by_role("link", name="probe without labels").wait_for()
    assert page.get_by_role("link", name="digits, half").count() == 0
    expect(page.get_by_role("combobox", name="State")).to_have_value("failed")


def test_compared_jobs_are_in_the_address_and_in_the_csv(
    service: Service, open_tab: OpenTab, finished: dict[str, Any]
) -> None:
    tab = open_tab(service)
    page = tab.open("compare")
    page.get_by_role("combobox", name="Jobs").click()
    page.get_by_role("option", name="digits, half").first.click()
    page.get_by_role("img", name="Accuracy against parameters").wait_for()
    page.wait_for_url(f"**{finished['good']}**")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        [row] = csv.DictReader(file)
    result = service.job(finished["good"])["result"]
    assert (row["id"], row["name"], row["k"]) == (finished["good"], "digits, half", "8")
    assert float(row["student_probe_accuracy"]) == result["student"]["probe_accuracy"]
    assert int(row["teacher_parameters"]) == result["teacher"]["parameters"]
    tab.expect_no_complaints()
