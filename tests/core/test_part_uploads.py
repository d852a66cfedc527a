"""The notes of URLs for direct uploads, on both databases."""

import threading

import pytest
from sqlalchemy import select, update

from core import clock, retention
from core.ids import new_id
from core.models import DatasetPart, Deletion, PartUpload
from core.principals import LOCAL_OWNER
from core.queries import part_uploads
from core.queries.owners import bytes_of
from core.states import DatasetState
from tests.core.rows import add_dataset, count


def announce(database, dataset_id, number=1, sha256="a" * 64, size_bytes=10):
    wanted = PartUpload(
        key=f"datasets/{dataset_id}/parts/{new_id('ds')}/direct",
        dataset_id=dataset_id,
        owner=LOCAL_OWNER,
        number=number,
        filename="a.zip",
        size_bytes=size_bytes,
        sha256=sha256,
    )
    with database.write() as session:
        row, is_new = part_uploads.reserve(session, wanted, 60)
        return row.key, is_new


def end_all(database):
    with database.write() as session:
        session.execute(update(PartUpload).values(expires_at=clock.now_plus(-10)))


@pytest.fixture
def dataset_id(database):
    return add_dataset(database, DatasetState.UPLOADING)


def test_the_same_bytes_have_one_place_until_they_are_confirmed(database, dataset_id):
    first, is_new = announce(database, dataset_id)
    assert is_new
    assert announce(database, dataset_id) == (first, False)
    assert announce(database, dataset_id, sha256="b" * 64)[1]
    assert announce(database, dataset_id, number=2)[1]
    with database.write() as session:
        assert bytes_of(session, LOCAL_OWNER) == 30
        session.execute(update(PartUpload).values(is_confirmed=True))
        assert bytes_of(session, LOCAL_OWNER) == 0, "parts count themselves"
    assert announce(database, dataset_id)[1], "a key is never used again"


def test_what_has_ended_goes_with_its_object_unless_a_part_has_it(database, dataset_id):
    kept, _ = announce(database, dataset_id)
    left, _ = announce(database, dataset_id, number=2)
    with database.write() as session:
        part = {"size_bytes": 10, "sha256": "a" * 64, "content_type": "application/zip"}
        session.add(DatasetPart(dataset_id=dataset_id, number=1, key=kept, **part))
        assert retention.expire_part_uploads(session, 5) == 0
    end_all(database)
    with database.write() as session:
        assert retention.expire_part_uploads(session, 20) == 0
        assert retention.expire_part_uploads(session, 5) == 2
    with database.read() as session:
        assert session.scalars(select(Deletion.prefix)).all() == [left.removesuffix("/direct")]
    assert count(database, PartUpload) == 0


def test_sweeps_that_come_together_do_each_piece_once(database, dataset_id):
    for number in range(1, 21):
        announce(database, dataset_id, number)
    end_all(database)
    done = []

    def sweep():
        with database.write() as session:
            done.append(retention.expire_part_uploads(session, 5))

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 20
    assert count(database, Deletion) == 20
