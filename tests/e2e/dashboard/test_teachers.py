"""A teacher of one's own, uploaded and deleted in the form of a new job."""

import json
import re
from pathlib import Path

import pytest
import timm
from playwright.sync_api import expect
from safetensors.torch import save_file

from tests.e2e.dashboard.browser import Tab
from tests.e2e.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def timm_folder(tmp_path: Path) -> Path:
    """A small teacher as timm saves it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    model = timm.create_model("test_vit", pretrained=False)
    save_file(model.state_dict(), folder / "model.safetensors")
    pretrained = {"input_size": [3, 160, 160], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    config = {"architecture": "test_vit2", "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("not of the teacher")
    return folder


def test_a_timm_folder_becomes_a_teacher_that_can_be_chosen_and_deleted(
    service: Service, tab: Tab, timm_folder: Path, tmp_path: Path
) -> None:
    page = tab.open("jobs/new")
    page.get_by_role("button", name="Upload a teacher of your own").click()
    dialog = page.get_by_role("dialog", name="Teachers of your own")
    pickle = tmp_path / "teacher.pth"
    pickle.write_bytes(b"\x80\x02}q\x00.")
    dialog.locator("[data-choose=teacher]").set_input_files(pickle)
    dialog.get_by_text("safetensors.torch.save_file").wait_for()
    dialog.locator("[data-choose=teacher-folder]").set_input_files(timm_folder)
    architecture = dialog.get_by_role("combobox", name="Architecture")
    expect(architecture).to_have_value("test_vit2")
    expect(dialog.get_by_role("textbox", name="Image size")).to_have_value("160")
    expect(dialog.get_by_text("save_file")).to_have_count(0)
    assert tab.violations() == []

    # The file is of another architecture than its config.json says.
    dialog.get_by_role("textbox", name="Name").fill("my own")
    dialog.get_by_role("button", name="Upload the teacher").click()
    expect(dialog.get_by_role("alert")).to_contain_text("test_vit2")
    assert not [each for each in service.get("/teachers")["data"] if each["kind"] == "uploaded"]
    architecture.fill("test_vit")
    dialog.get_by_role("button", name="Upload the teacher").click()
    dialog.wait_for(state="hidden")
    [teacher] = [each for each in service.get("/teachers")["data"] if each["kind"] == "uploaded"]
    assert (teacher["name"], teacher["image_size"], teacher["mean"]) == ("my own", 160, [0.5, 0.5, 0.5])
    expect(page.get_by_role("combobox", name="Teacher")).to_have_value("my own")
    page.get_by_role("img", name=re.compile("^3 of .* 6 blocks are copied")).wait_for()
    page.get_by_role("combobox", name="Teacher").click()
    expect(page.get_by_role("group", name="Your own").get_by_role("option")).to_have_count(1)
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Your own teachers (1)").click()
    dialog.get_by_role("button", name="Delete the teacher").click()
    asked = page.get_by_role("dialog", name="Delete my own?")
    asked.get_by_role("button", name="Delete the teacher").click()
    dialog.get_by_role("table").wait_for(state="detached")
    assert service.http.get(f"/teachers/{teacher['id']}").status_code == 404
    expect(page.get_by_role("combobox", name="Teacher")).to_have_value("")
    tab.expect_no_complaints("422")
    tab.complaints.clear()
