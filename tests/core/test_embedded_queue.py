"""The embedded broker: a message is seen whole, once, by one reader."""

import threading
from pathlib import Path

import pytest
from kombu import Connection

from core.broker import celery_config
from core.settings import Settings


@pytest.fixture
def connect(tmp_path: Path):
    config = celery_config(Settings(data_dir=tmp_path))
    return lambda: Connection(config["broker_url"], transport_options=config["broker_transport_options"])


def test_messages_arrive_in_the_order_of_sending(connect) -> None:
    with connect() as connection:
        queue = connection.SimpleQueue("jobs", no_ack=True)
        for number in range(20):
            queue.put(number)
        assert queue.qsize() == 20
        assert [queue.get(timeout=2).payload for _ in range(20)] == list(range(20))
        assert queue.qsize() == 0


def test_queues_do_not_mix(connect) -> None:
    with connect() as connection:
        jobs, datasets = (
            connection.SimpleQueue("jobs", no_ack=True),
            connection.SimpleQueue("datasets", no_ack=True),
        )
        jobs.put("a")
        datasets.put("b")
        assert datasets.get(timeout=2).payload == "b"
        assert jobs.get(timeout=2).payload == "a"


def test_many_writers_and_readers_lose_and_double_nothing(connect) -> None:
    seen: list[int] = []

    def write(writer: int) -> None:
        with connect() as connection:
            queue = connection.SimpleQueue("jobs")
            for number in range(50):
                queue.put(writer * 50 + number)

    def read() -> None:
        with connect() as connection:
            queue = connection.SimpleQueue("jobs", no_ack=True)
            while True:
                try:
                    seen.append(queue.get(timeout=1.5).payload)
                except queue.Empty:
                    return

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(200))


def test_a_file_that_is_no_message_is_dropped_and_the_next_one_read(connect, tmp_path: Path) -> None:
    (tmp_path / "queue" / "00000-broken.jobs.msg").write_text("{")
    with connect() as connection:
        queue = connection.SimpleQueue("jobs", no_ack=True)
        queue.put("good")
        assert queue.get(timeout=2).payload == "good"
        assert queue.qsize() == 0
