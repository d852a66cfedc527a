"""The dashboard as it is built from these sources, a browser, and real photographs where there are some."""

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from samples.digits import write_digits
from tests.e2e.dashboard.browser import LAPTOP, Tab, run_chromium
from tests.e2e.service import ROOT, Service
from tools.dashboard import build

OpenTab = Callable[..., Tab]


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
        context = browser.new_context(**{"viewport": LAPTOP, "locale": "en-GB", **options})
        contexts.append(context)
        return Tab(context, service.url, shots)

    yield make
    for context in contexts:
        context.close()


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
