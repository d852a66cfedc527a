"""The dashboard as it is built from these sources, a browser, and real photographs where there are some."""

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from samples.digits import write_digits
from tests.e2e.dashboard.browser import LAPTOP, Tab, run_chromium
from tests.e2e.service import ROOT, Service
from tools.dashboard import build

OpenTab = Callable[..., Tab]
PATIENCE_SECONDS = 500
BROKEN = 30
"""Files of the dataset that are no images, beside the one that is none by its name."""


def make_key(data_dir: Path) -> str:
    """An administrator's key of the owner `lab`."""
    command = [sys.executable, "-m", "core.admin", "create-key", "--owner", "lab"]
    environment = {"PATH": "/usr/bin:/bin", "WECOLORA_DATA_DIR": str(data_dir)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return re.search(r"wcl_\S+", done.stdout)[0]


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots go: an artefact of the test run."""
    folder = os.environ.get("DASHBOARD_SHOTS")  # noqa: TID251 - not a setting of the service
    return Path(folder) if folder else ROOT / "out" / "dashboard"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with run_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def built() -> None:
    build()


@pytest.fixture
def open_tab(built: None, browser: Browser, shots: Path) -> Iterator[OpenTab]:
    """Makes tabs, each in a profile of its own."""
    contexts = []

    def make(service: Service, **options: object) -> Tab:
        # Without motion nothing is looked at while it fades in.
        usual = {"viewport": LAPTOP, "locale": "en-GB", "reduced_motion": "reduce"}
        context = browser.new_context(**{**usual, **options})
        contexts.append(context)
        return Tab(context, service.url, shots)

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def finished(service: Service, digits: dict[str, bytes]) -> dict[str, Any]:
    """A job that succeeded, with a probe; one that failed; a dataset with files that were left out."""
    broken = io.BytesIO()
    with zipfile.ZipFile(broken, "w") as bundle:
        for number in range(BROKEN):
            bundle.writestr(f"torn/{number:02d}.jpg", b"\xff\xd8\xff torn")
    images = service.upload(
        "handwriting",
        ("digits.zip", digits["unlabelled"]),
        ("broken.zip", broken.getvalue()),
        ("notes.txt", b"no image"),
    )
    probe = service.upload("handwriting, labelled", ("labelled.zip", digits["labelled"]))
    body = {"teacher": "sample-digits", "dataset_id": images, "k": 8, "epochs": 2, "batch_size": 16}
    good = service.post("/jobs", json={**body, "name": "digits, half", "probe": {"dataset_id": probe}})
    bad = service.post(
        "/jobs", json={**body, "name": "probe without labels", "probe": {"dataset_id": images}}
    )
    service.post("/datasets", json={"name": "interrupted"})
    assert service.wait_for_end(good["id"], PATIENCE_SECONDS)["state"] == "succeeded"
    assert service.wait_for_end(bad["id"], PATIENCE_SECONDS)["state"] == "failed"
    return {"images": images, "probe": probe, "good": good["id"], "bad": bad["id"]}


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for keys; requests from here carry an administrator's."""
    data_dir = tmp_path_factory.mktemp("locked")
    settings = {
        "WECOLORA_AUTH": "keys",
        "WECOLORA_QUOTA_QUEUED_JOBS": "20",
        "WECOLORA_WEBHOOK_ALLOW": "127.0.0.0/8",
        "WECOLORA_WEBHOOK_RETRY_SECONDS": "3600",  # what is sent again is sent by hand
    }
    service = Service(data_dir, **settings)
    service.http.headers["Authorization"] = f"Bearer {make_key(data_dir)}"
    try:
        yield service
    finally:
        service.stop()


def sign_in(tab: Tab, service: Service, key: str | None = None) -> Page:
    """Open the page of the account with a key; the administrator's unless another one is given."""
    page = tab.open("usage")
    own = service.http.headers["Authorization"].removeprefix("Bearer ")
    page.get_by_role("textbox", name="API key").fill(key or own)
    page.get_by_role("button", name="Use this key").click()
    page.get_by_role("heading", level=1, name="Usage and keys").wait_for()
    return page


@pytest.fixture
def tab(open_tab: OpenTab, service: Service) -> Iterator[Tab]:
    """One tab on the service that the tests share."""
    tab = open_tab(service)
    yield tab
    tab.expect_no_complaints()


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `unlabelled`, `train/CLASS` and `test/CLASS` of PNG files."""
    folder = tmp_path_factory.mktemp("folders") / "digits"
    folder.mkdir()
    write_digits(folder)
    return folder


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 real photographs."""
    archive = ROOT.parent / "shared" / "data" / "photographs-unlabelled.tar"
    if not archive.exists():
        pytest.skip("needs the reference folder ../shared")
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(archive) as bundle:
        images = [member for member in bundle if member.isfile()][:40]
        bundle.extractall(folder, images, filter="data")
    return folder
