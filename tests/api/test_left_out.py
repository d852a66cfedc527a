"""Every file that an ingest left out: paged, searched, and as CSV."""

import csv
import json

import pytest

from core.left_out import LeftOutFile, LeftOutKind, left_out_key
from tests.api.rows import RESULT, ready_dataset, uploaded_dataset

MANY = 2500
SKIPPED = [
    LeftOutFile(LeftOutKind.SKIPPED, f"trip/Übung-{number:04d}.jpg", "is damaged") for number in range(MANY)
]
AGAIN = [LeftOutFile(LeftOutKind.DUPLICATE, "trip/=1+1.png", 'looks like "1.png", and is')]


@pytest.fixture
def listed(api):
    """The path of the list of a dataset with more files than its report names."""
    lines = "".join(file.to_line() for file in [*SKIPPED, *AGAIN])
    api.resources.storage.put_bytes(left_out_key(RESULT.report_key), lines.encode())
    return f"/datasets/{ready_dataset(api)}/left-out"


def read_all(api, path, **wanted):
    """Every page of a list."""
    rows, pages, answer = [], 0, api.client.get(path, params={"limit": 100, **wanted})
    while True:
        assert answer.status_code == 200, answer.text
        rows += answer.json()["data"]
        pages += 1
        if "next" not in answer.links:
            assert answer.json()["has_more"] is False
            return rows, pages
        answer = api.client.get(answer.links["next"]["url"])


def test_every_file_is_on_one_page_and_in_the_order_of_the_upload(api, listed):
    rows, pages = read_all(api, listed)
    assert [row["path"] for row in rows] == [file.path for file in [*SKIPPED, *AGAIN]]
    assert pages == MANY // 100 + 1
    assert read_all(api, listed, kind="duplicate")[0] == [
        {"kind": "duplicate", "path": "trip/=1+1.png", "reason": 'looks like "1.png", and is'}
    ]


def test_a_search_goes_through_all_of_them_and_its_pages_keep_it(api, listed):
    rows, pages = read_all(api, listed, search="DAMAGED übung-24", kind="skipped", limit=30)
    assert [row["path"] for row in rows] == [f"trip/Übung-{number:04d}.jpg" for number in range(2400, 2500)]
    assert pages == 4
    assert read_all(api, listed, search="nothing of the kind") == ([], 1)


def test_the_csv_has_all_of_them_and_none_is_a_formula(api, listed):
    answer = api.client.get(f"{listed}.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [row["path"] for row in rows] == [file.path for file in [*SKIPPED, *AGAIN]]
    assert rows[-1] == {"kind": "duplicate", "path": "trip/=1+1.png", "reason": 'looks like "1.png", and is'}


def test_what_spreadsheets_would_run_is_made_words(api, listed):
    line = LeftOutFile(LeftOutKind.SKIPPED, "=cmd.jpg", "is damaged").to_line()
    api.resources.storage.put_bytes(left_out_key(RESULT.report_key), line.encode())
    assert api.client.get(f"{listed}.csv").text.splitlines()[1] == "skipped,'=cmd.jpg,is damaged"


@pytest.mark.parametrize("cursor", [1, 77, 10**9])
def test_a_cursor_of_another_list_is_refused_at_its_field(api, listed, cursor):
    answer = api.client.get(listed, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


def test_a_dataset_from_before_there_were_lists_shows_what_its_report_names(api):
    report = {
        "skipped": [{"path": f"{number}.jpg", "reason": "is damaged"} for number in range(3)],
        "duplicates": [{"path": "again.jpg", "reason": "has the same pixels"}],
    }
    api.resources.storage.put_bytes(RESULT.report_key, json.dumps(report).encode())
    path = f"/datasets/{ready_dataset(api)}/left-out"
    rows, pages = read_all(api, path, limit=2)
    assert [row["path"] for row in rows] == ["0.jpg", "1.jpg", "2.jpg", "again.jpg"]
    assert pages == 2
    assert len(api.client.get(f"{path}.csv").text.splitlines()) == 5


def test_before_the_ingest_has_ended_there_is_no_list(api):
    dataset = uploaded_dataset(api)
    for name in ("left-out", "left-out.csv"):
        answer = api.client.get(f"/datasets/{dataset}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
