"""A user who only has a browser: drop a folder, start a job, watch it, download the student and load it."""

import io
import re
import zipfile
from pathlib import Path

import httpx2
import onnx
import pytest
import timm
from playwright.sync_api import Locator, Page, expect

from tests.e2e.dashboard.browser import Tab
from tests.e2e.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS_MS = 240_000
"""Until a job that was just started has made its first steps, on a machine that does other things, too."""


def test_from_a_dropped_folder_to_a_student_that_timm_loads(
    service: Service, tab: Tab, digits_folder: Path, tmp_path: Path
) -> None:
    page = tab.open("datasets")
    tab.drop([digits_folder / "unlabelled"])
    page.locator("[data-upload=done]").wait_for()
    tab.open_dataset()
    tab.wait_for_state("ready")
    expect(page.get_by_role("heading", level=1)).to_have_text("unlabelled")
    dataset = service.get(f"/datasets/{page.url.rpartition('/')[2]}")
    assert dataset["image_count"] == len(list((digits_folder / "unlabelled").iterdir()))
    page.get_by_role("button", name="Close the upload").click()

    page.get_by_role("link", name="New job on these images").click()
    page.get_by_role("combobox", name="Teacher").fill("digits 12")
    page.get_by_role("option").first.click()
    page.get_by_text("Advanced options").click()
    page.get_by_label("epochs", exact=True).fill("10")
    page.get_by_label("batch_size", exact=True).fill("16")
    page.get_by_label("seed", exact=True).fill("7")
    page.get_by_role("textbox", name="k, rank of the adapters").fill("8")
    page.get_by_role("checkbox", name="Deliver ONNX, too").check()
    page.get_by_role("button", name="Start the job").click()
    page.wait_for_url("**/jobs/job_*")
    job_id = page.url.rpartition("/")[2]
    given = service.job(job_id)["given"]
    assert given == {"r": 2, "k": 8, "epochs": 10, "batch_size": 16, "seed": 7, "onnx": True}

    page.get_by_role("img", name="Loss over").wait_for(timeout=STEPS_MS)
    page.get_by_text("Step: ").first.wait_for()
    tab.shoot("job-running")
    tab.wait_for_state("succeeded")
    job = service.job(job_id)
    assert job["state"] == "succeeded"
    ratio = job["result"]["student"]["parameters"] / job["result"]["teacher"]["parameters"]
    expect(page.get_by_role("row", name="Parameters")).to_contain_text(f"{ratio:.3g}")
    points = [event for event in service.events(job_id) if event["type"] == "metric"]
    page.get_by_role("img", name=f"Loss over {len(points)} reported steps").wait_for()
    page.get_by_role("heading", name="Attention").wait_for()
    page.get_by_text(f"{dataset['image_count']} of {dataset['image_count']} images of").wait_for()
    page.get_by_text("Every file could be read as an image.").wait_for()

    with page.expect_download() as download:
        page.get_by_role("link", name="student.zip").click()
    with zipfile.ZipFile(download.value.path()) as bundle:
        bundle.extractall(tmp_path)
    student = timm.create_model(f"local-dir:{tmp_path / 'student'}", pretrained=True)
    assert len(student.blocks) == 6
    with page.expect_download() as download:
        page.get_by_role("link", name="student.onnx").click()
    assert [entry.name for entry in onnx.load(download.value.path()).graph.input] == ["images"]
    line = page.locator("pre").inner_text()
    assert line == f"import timm; student = {job['load']}"


def tab_to(page: Page, role: str, name: str) -> Locator:
    """Press Tab until something has the focus; it is reached, or the test fails."""
    wanted = page.get_by_role(role, name=name, exact=True)
    wanted.first.wait_for(state="attached")
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = [
            each for each in wanted.all() if each.evaluate("(each) => each === document.activeElement")
        ]
        if focused:
            return focused[0]
    raise AssertionError(f"Tab does not lead to the {role} {name!r}")


def test_from_files_to_a_student_with_the_keyboard_alone(
    service: Service, tab: Tab, digits_folder: Path
) -> None:
    page = tab.open("jobs")
    # The browser is told to hand over file dialogs now: in the moment of the key it would be too late.
    page.on("filechooser", lambda _: None)
    tab_to(page, "link", "Datasets")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Datasets").wait_for()
    tab_to(page, "button", "Choose files or archives")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    assert chooser.value.is_multiple()
    chooser.value.set_files(sorted((digits_folder / "unlabelled").iterdir())[:40])
    page.locator("[data-upload=done]").wait_for()
    assert "40 files" in page.locator("[data-upload]").inner_text()
    tab_to(page, "link", "Dataset")
    page.keyboard.press("Enter")
    tab.wait_for_state("ready")
    tab_to(page, "link", "New job on these images")
    page.keyboard.press("Enter")
    tab_to(page, "combobox", "Teacher")
    page.keyboard.type("sample-digits")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    tab_to(page, "radio", "best")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.locator("[data-plan=current]").wait_for()
    tab_to(page, "button", "Start the job")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/job_*")
    job = service.job(page.url.rpartition("/")[2])
    assert (job["recipe"], job["teacher"]["name"]) == ("instant", "sample-digits")
    tab.wait_for_state("succeeded")
    tab_to(page, "link", "student.zip")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert zipfile.is_zipfile(download.value.path())


def test_a_folder_of_photographs_arrives_whole_with_its_paths(
    service: Service, tab: Tab, photographs: Path, tmp_path: Path
) -> None:
    hidden = photographs / ".DS_Store"
    hidden.write_bytes(b"litter")
    broken = photographs / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no photograph")
    page = tab.open("jobs")
    tab.drop([photographs])
    page.locator("[data-upload=done]").wait_for()
    tab.open_dataset()
    tab.wait_for_state("ready")
    dataset_id = page.url.rpartition("/")[2]
    report = httpx2.get(f"{service.url}/datasets/{dataset_id}/report").json()
    assert (report["image_count"], report["skipped_count"]) == (40, 1)
    skipped = page.get_by_role("table", name="Files left out")
    expect(skipped).to_contain_text(f"{photographs.name}/broken.jpg")
    expect(skipped).to_contain_text(report["skipped"][0]["reason"])


def test_a_bad_archive_is_refused_in_the_service_s_words(service: Service, tab: Tab, tmp_path: Path) -> None:
    archive = tmp_path / "holiday.zip"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.writestr("../evil.png", b"x")
    archive.write_bytes(content.getvalue())
    page = tab.open("datasets")
    tab.drop([archive])
    page.locator("[data-upload=done]").wait_for()
    tab.open_dataset()
    tab.wait_for_state("failed")
    dataset = service.get(f"/datasets/{page.url.rpartition('/')[2]}")
    alert = page.get_by_role("alert")
    assert dataset["error"]["code"] == "archive_unsafe"
    expect(alert).to_contain_text("archive_unsafe")
    expect(alert).to_contain_text(dataset["error"]["message"])


def test_the_sliders_show_at_once_what_the_student_will_be(service: Service, tab: Tab) -> None:
    page = tab.open("jobs/new")
    page.get_by_role("combobox", name="Teacher").fill("vit base patch16 224 augreg2")
    page.get_by_role("option").first.click()
    page.get_by_role("img", name=re.compile(r"^6 of .* 12 blocks are copied")).wait_for()
    slider = page.get_by_role("slider", name="r, compression factor")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("img", name=re.compile(r"^4 of .* 12 blocks are copied")).wait_for()
    page.locator("[data-plan=current]").wait_for()
    teacher = page.get_by_role("combobox", name="Teacher").input_value()
    plan = service.post("/jobs?dry_run=true", status=200, json={"teacher": teacher, "r": 3, "k": 128})
    row = page.get_by_role("table", name="The student beside its teacher").get_by_role("row", name="GMACs")
    expect(row).to_contain_text(f"{plan['student_network']['gmacs']:.3g}")
    page.get_by_text(plan["unknown"]["steps"]).first.wait_for()
    needed = page.locator("dl > div", has_text="Memory on a device")
    expect(needed).to_contain_text(f"{plan['device_bytes'] / 1e9:.3g} GB")


def test_what_the_service_refuses_is_said_at_its_field(
    service: Service, tab: Tab, digits: dict[str, bytes]
) -> None:
    dataset = service.upload("digits", ("digits.zip", digits["unlabelled"]))
    page = tab.open(f"jobs/new?dataset={dataset}")
    page.get_by_role("combobox", name="Teacher").fill("sample-digits")
    page.get_by_role("option").first.click()
    page.get_by_role("textbox", name="r, compression factor").fill("13")
    # It is said while one types, and again by the service itself when one insists.
    said = page.get_by_text("the teacher has 12 blocks (allowed: 1 to 12)")
    said.first.wait_for()
    page.get_by_role("button", name="Start the job").click()
    page.get_by_text("This job would be refused").wait_for()
    said.first.wait_for()
    assert page.url.endswith(f"/jobs/new?dataset={dataset}")
    assert not [job for job in service.get("/jobs")["data"] if job["dataset_id"] == dataset]
    # The word goes when the value does.
    page.get_by_role("textbox", name="r, compression factor").fill("3")
    said.first.wait_for(state="detached")
    tab.expect_no_complaints("422")
    tab.complaints.clear()


def test_cancelling_asks_first_and_then_shows_what_the_service_says(
    service: Service, tab: Tab, digits: dict[str, bytes]
) -> None:
    dataset = service.upload("digits", ("digits.zip", digits["unlabelled"]))
    body = {"teacher": "sample-digits", "dataset_id": dataset, "k": 8, "epochs": 1000}
    job = service.post("/jobs", json=body)
    page = tab.open(f"jobs/{job['id']}")
    page.get_by_role("button", name="Cancel the job").click()
    dialog = page.get_by_role("dialog", name="Cancel this job?")
    dialog.get_by_role("button", name="Keep it").click()
    dialog.wait_for(state="hidden")
    assert service.job(job["id"])["cancel_requested_at"] is None
    page.get_by_role("button", name="Cancel the job").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    tab.wait_for_state("cancelled")
    assert service.job(job["id"])["state"] == "cancelled"
    expect(page.get_by_role("button", name="Cancel the job")).to_have_count(0)

    page.get_by_role("button", name="Try again").click()
    tab.wait_for_state("queued", "running")
    assert service.job(job["id"])["state"] in ("queued", "running")
    page.get_by_role("button", name="Cancel the job").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    tab.wait_for_state("cancelled")
    page.get_by_text("The job was cancelled.").nth(1).wait_for()
    page.reload()
    page.get_by_text("The job was cancelled.").nth(1).wait_for()
    page.get_by_role("button", name="Delete the job").click()
    page.get_by_role("dialog", name="Delete this job?").get_by_role("button", name="Delete the job").click()
    page.wait_for_url("**/dashboard/jobs")
    assert service.http.get(f"/jobs/{job['id']}").status_code == 404
