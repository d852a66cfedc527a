"""A finished job's page: curves, log and pictures, with the pointer and with the keyboard alone."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.dashboard.browser import Tab
from tests.e2e.service import Service, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def page(service: Service, tab: Tab, finished: dict[str, Any]) -> Page:
    """The job's page once every event has come."""
    page = tab.open(f"jobs/{finished['good']}")
    told = service.events(finished["good"])
    points = [event for event in told if event["type"] == "metric"]
    page.get_by_role("img", name=f"Loss over {len(points)} reported steps").wait_for()
    page.get_by_role("log").get_by_text("The job succeeded.").wait_for()
    return page


def picture_of(canvas: Locator) -> str:
    """The canvas as it is, as a data URL."""
    drawn: str = canvas.evaluate("(canvas) => canvas.toDataURL()")
    return drawn


def settled_picture(canvas: Locator, *others: str) -> str:
    """The canvas once it stays as it is, and as none of the other pictures."""
    seen = [picture_of(canvas)]

    def stays() -> bool:
        seen.append(picture_of(canvas))
        return seen[-1] == seen[-2] and seen[-1] not in others

    wait_for(stays, pause=0.1)
    return seen[-1]


def test_a_chart_zooms_by_the_keyboard_and_has_its_numbers_beside_it(
    service: Service, page: Page, finished: dict[str, Any]
) -> None:
    chart = page.get_by_role("img", name="Loss over")
    canvas = chart.locator("canvas")
    whole = settled_picture(canvas)
    chart.focus()
    page.keyboard.press("+")
    near = settled_picture(canvas, whole)
    page.keyboard.press("ArrowRight")
    settled_picture(canvas, whole, near)
    page.keyboard.press("0")
    wait_for(lambda: picture_of(canvas) == whole)
    page.get_by_text("The numbers").click()
    table = page.get_by_role("table", name="Loss and learning rate by step")
    metrics = [event["data"] for event in service.events(finished["good"]) if event["type"] == "metric"]
    expect(table.get_by_role("row")).to_have_count(1 + len(metrics))
    assert f"{metrics[-1]['loss']:.3g}" in table.get_by_role("row").last.inner_text()


def test_the_log_is_searched_filtered_and_saved(
    service: Service, page: Page, finished: dict[str, Any]
) -> None:
    log = page.get_by_role("log")
    said = [
        event for event in service.events(finished["good"]) if event["type"] != "metric" and event["message"]
    ]
    lines = log.locator("[data-level]")
    expect(lines).to_have_count(len(said))
    page.get_by_role("textbox", name="Search the log").fill("SUCCEEDED job")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("The job succeeded.")
    page.get_by_role("textbox", name="Search the log").fill("")
    expect(lines).to_have_count(len(said))
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as text").click()
    saved = Path(download.value.path()).read_text().splitlines()
    assert [line.partition(said[0]["level"])[2].strip() for line in saved] == [
        event["message"] for event in said
    ]
    page.get_by_role("combobox", name="Level").click()
    page.get_by_role("option", name="errors").click()
    page.get_by_text("No line fits.").wait_for()


def test_an_image_lights_up_in_both_maps(service: Service, page: Page, finished: dict[str, Any]) -> None:
    data = json.loads(service.download(finished["good"], "tsne.json"))
    maps = page.get_by_role("img", name="Map of")
    expect(maps).to_have_count(2)
    maps.first.scroll_into_view_if_needed()
    maps.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    for each in (maps.first, maps.last):
        expect(each).to_have_attribute("data-shown", "1")
    name = data["classes"][data["labels"][1]]
    page.get_by_text(f"Image 2 of {len(data['labels'])}, class {name}").wait_for(state="attached")
    page.keyboard.press("Escape")
    expect(maps.last).not_to_have_attribute("data-shown", re.compile(""))

    # With the pointer: the place of a point that no other one covers.
    places = data["models"][0]["coordinates"]
    alone = max(
        range(len(places)),
        key=lambda one: min(
            (places[one][0] - x) ** 2 + (places[one][1] - y) ** 2
            for other, (x, y) in enumerate(places) if other != one
        ),
    )  # fmt: skip
    (left, right), (low, high) = ((min(side), max(side)) for side in zip(*places, strict=True))
    scale = 0.92 / max(right - left, high - low)
    x = 0.5 + (places[alone][0] - (left + right) / 2) * scale
    y = 0.5 - (places[alone][1] - (low + high) / 2) * scale
    box = maps.first.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(maps.last).to_have_attribute("data-shown", str(alone))
    # A class that is chosen is the only one that the keyboard steps through.
    page.mouse.move(0, 0)
    chosen = data["labels"].index(max(data["labels"]))
    page.get_by_role("group", name="Classes").get_by_role("button").nth(max(data["labels"])).click()
    maps.first.focus()
    page.keyboard.press("ArrowRight")
    expect(maps.first).to_have_attribute("data-shown", str(chosen))


def test_a_slider_leads_from_the_teacher_s_attention_to_the_student_s(page: Page) -> None:
    teacher, student, between = (
        page.get_by_role("img", name=f"{name}: attention over image")
        for name in ("Teacher", "Student", "Between them")
    )
    slider = page.get_by_role("slider", name="From teacher to student")
    slider.scroll_into_view_if_needed()
    wait_for(lambda: picture_of(teacher) != picture_of(student))
    slider.focus()
    page.keyboard.press("Home")
    wait_for(lambda: picture_of(between) == picture_of(teacher))
    page.keyboard.press("End")
    wait_for(lambda: picture_of(between) == picture_of(student))
    with_attention = picture_of(teacher)
    page.get_by_role("slider", name="Attention over the image").focus()
    page.keyboard.press("Home")
    wait_for(lambda: picture_of(teacher) == picture_of(student) != with_attention)
    page.get_by_role("radio", name="Image 1").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Image 2")).to_have_attribute("aria-checked", "true")
    expect(page.get_by_role("img", name="Teacher: attention over image 2")).to_have_count(1)
