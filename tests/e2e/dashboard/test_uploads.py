"""Large and interrupted uploads: the page stays quick, and nothing is sent twice or lost."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Request, expect

from tests.backends import run_s3
from tests.e2e.dashboard.browser import Tab, longest_task_ms
from tests.e2e.dashboard.conftest import OpenTab
from tests.e2e.service import Service, wait_for

MANY = 20_000
LONGEST_TASK_MS = 200
SIDE = 700
"""Of a noise image: 1.5 MB as BMP, so that a part holds two."""


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images that share no pixel rows, in two folders; 12 parts."""
    folder = tmp_path_factory.mktemp("noise") / "expedition"
    source = random.Random(5)
    for number in range(24):
        place = folder / ("day 1" if number % 2 else "day 2")
        place.mkdir(parents=True, exist_ok=True)
        image = Image.frombytes("RGB", (SIDE, SIDE), source.randbytes(3 * SIDE * SIDE))
        image.save(place / f"Übung {number:02d}.bmp")
    return folder


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """A service that lets parts go straight into its store, and the store's address."""
    with run_s3() as store:
        data_dir = tmp_path_factory.mktemp("direct")
        service = Service(data_dir, WECOLORA_DIRECT_UPLOADS="true", **store)
        try:
            yield service, store["WECOLORA_S3_ENDPOINT"]
        finally:
            service.stop()


def arrived(service: Service, dataset_id: str) -> dict[int, str]:
    return {part["number"]: part["sha256"] for part in service.get(f"/datasets/{dataset_id}/parts")["data"]}


def settled(service: Service, dataset_id: str) -> dict[int, str]:
    """What has arrived, once no more arrives."""
    before = arrived(service, dataset_id)
    while time.sleep(1.5) or before != (now := arrived(service, dataset_id)):
        before = now
    return before


@pytest.mark.quiet
@pytest.mark.timeout(600)  # the trace of so many files takes minutes to read
def test_20000_dropped_files_never_hold_the_page(
    tab: Tab, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder = tmp_path / "many"
    for number in range(MANY):
        place = folder / f"{number // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:06d}.jpg").write_bytes(hashlib.sha256(str(number).encode()).digest() * 8)
    page = tab.open("datasets")

    def upload() -> None:
        tab.drop([folder])
        page.locator("[data-upload=done]").wait_for()

    longest = longest_task_ms(page, upload)
    assert f"{MANY:,} files" in page.locator("[data-upload]").inner_text()
    record_property("longest_task_ms", longest)
    assert longest < LONGEST_TASK_MS


def test_a_paused_upload_sends_nothing_until_it_is_resumed(service: Service, tab: Tab, noise: Path) -> None:
    page = tab.open("datasets")
    tab.slow_down(4_000_000)
    sent = tab.sent_parts()
    tab.drop([noise])
    tab.open_dataset()
    dataset_id = page.url.rpartition("/")[2]
    wait_for(lambda: arrived(service, dataset_id))
    tab.slow_down(50_000)  # on a busy machine it would be over before the button is found
    page.get_by_role("button", name="Pause").click()
    tab.slow_down(4_000_000)
    page.locator("[data-upload=paused]").wait_for()
    # The service may still be storing what it had received.
    before, count = settled(service, dataset_id), len(sent)
    page.wait_for_timeout(1500)
    assert arrived(service, dataset_id) == before
    assert len(sent) == count
    assert service.get(f"/datasets/{dataset_id}")["state"] == "uploading"
    tab.slow_down(-1)
    page.get_by_role("button", name="Resume").click()
    page.locator("[data-upload=done]").wait_for()
    # What had arrived was not sent again.
    assert not {str(number) for number in before} & set(sent[count:])
    tab.wait_for_state("ready")
    assert service.get(f"/datasets/{dataset_id}")["image_count"] == 24


def test_an_upload_goes_on_in_another_browser_when_the_folder_is_dropped_again(
    service: Service, open_tab: OpenTab, noise: Path
) -> None:
    first = open_tab(service)
    page = first.open("datasets")
    first.slow_down(4_000_000)
    first.drop([noise])
    first.open_dataset()
    path = page.url.partition("/dashboard/")[2]
    dataset_id = path.rpartition("/")[2]
    wait_for(lambda: len(arrived(service, dataset_id)) >= 3)
    page.context.close()
    # The service may still be storing what it had received.
    before = settled(service, dataset_id)
    second = open_tab(service)
    page = second.open(path)
    page.get_by_text("This upload is not complete").wait_for()
    sent = second.sent_parts()
    second.drop([noise])
    page.locator("[data-upload=done]").wait_for()
    assert sorted(map(int, sent)) == sorted(set(range(1, 13)) - before.keys())
    second.wait_for_state("ready")
    assert service.get(f"/datasets/{dataset_id}")["image_count"] == 24
    report = service.get(f"/datasets/{dataset_id}/report")
    assert (report["skipped_count"], report["duplicate_count"]) == (0, 0)
    second.expect_no_complaints()


def test_other_files_do_not_go_into_an_interrupted_upload(
    service: Service, tab: Tab, noise: Path, digits_folder: Path
) -> None:
    dataset_id = service.post("/datasets", json={"name": "expedition"})["id"]
    service.http.put(f"/datasets/{dataset_id}/parts/1", params={"filename": "part-0.zip"}, content=b"x")
    page = tab.open(f"datasets/{dataset_id}")
    page.get_by_text("This upload is not complete").wait_for()
    tab.drop([digits_folder / "test"])
    page.locator("[data-upload=failed]").wait_for()
    expect(page.get_by_role("alert")).to_contain_text("not the files")
    assert list(arrived(service, dataset_id)) == [1]


def test_a_chosen_folder_keeps_its_paths(service: Service, tab: Tab, digits_folder: Path) -> None:
    page = tab.open("datasets")
    page.locator("input[data-choose=folder]").set_input_files(digits_folder / "test")
    page.locator("[data-upload=done]").wait_for()
    tab.open_dataset()
    tab.wait_for_state("ready")
    page.get_by_role("heading", name="10 classes").wait_for()
    dataset = service.get(f"/datasets/{page.url.rpartition('/')[2]}")
    assert (dataset["name"], len(dataset["class_names"])) == ("test", 10)


@pytest.mark.parametrize("is_in_reach", [True, False])
def test_parts_go_straight_into_the_store_or_through_the_service_where_it_is_out_of_reach(
    direct: tuple[Service, str], open_tab: OpenTab, noise: Path, *, is_in_reach: bool
) -> None:
    service, store = direct
    tab = open_tab(service)
    page = tab.open("datasets")
    if not is_in_reach:
        page.context.route(f"{store}/**", lambda route: route.abort())
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method == "PUT":
            sent.append(request.url)

    page.context.on("request", note)
    tab.drop([noise])
    page.locator("[data-upload=done]").wait_for()
    tab.open_dataset()
    tab.wait_for_state("ready")
    assert service.get(f"/datasets/{page.url.rpartition('/')[2]}")["image_count"] == 24
    to_store = [url for url in sent if url.startswith(f"{store}/wecolora/some/prefix/")]
    to_service = [url for url in sent if url.startswith(service.url)]
    if is_in_reach:
        assert (len(to_store), len(to_service)) == (12, 0)
    else:
        assert to_store
        assert len(to_service) == 12
