"""Which of Celery's serverless brokers can be the embedded one?

Several processes send small messages as fast as they can while one process consumes; then the consumer idles;
then single messages measure the latency. Counted: messages lost, doubled, errors raised at either end, CPU time
of the idle consumer, latency.

    python -m benchmarks.embedded_broker [--messages 2000] [--producers 4] [--pause 0] [--poll 0.2] > result.json
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from kombu import Connection

from core import embedded_queue
from core.broker import celery_config
from core.settings import Settings

IDLE_SECONDS = 5.0
LATENCY_MESSAGES = 20


@dataclass(frozen=True)
class Broker:
    """A Celery broker: its address and options."""

    name: str
    url: str
    options: dict[str, Any]

    def connect(self) -> Connection:
        """A connection as Celery makes it."""
        embedded_queue.register()
        return Connection(self.url, transport_options=self.options)


@dataclass
class Measurement:
    """What one broker did."""

    broker: str
    sent: int
    received: int
    lost: int
    doubled: int
    producer_errors: dict[str, int]
    consumer_errors: dict[str, int]
    messages_per_second: float
    idle_cpu_percent: float
    latency_ms_median: float
    latency_ms_max: float
    bytes_on_disk: int


def brokers(folder: Path, poll_seconds: float) -> list[Broker]:
    """The candidates, each with a folder of its own."""
    plain = folder / "filesystem"
    for name in ("messages", "control"):
        (plain / name).mkdir(parents=True)
    embedded = celery_config(Settings(data_dir=folder / "embedded"))
    return [
        Broker(
            "kombu filesystem",
            "filesystem://",
            {
                "data_folder_in": str(plain / "messages"),
                "data_folder_out": str(plain / "messages"),
                "control_folder": str(plain / "control"),
                "polling_interval": poll_seconds,
            },
        ),
        Broker(
            "kombu sqlalchemy + sqlite",
            f"sqla+sqlite:///{folder / 'queue.db'}",
            {},  # it hands every option to create_engine, which refuses polling_interval: always 1 s
        ),
        Broker(
            "embedded (core.broker)",
            embedded["broker_url"],
            embedded["broker_transport_options"] | {"polling_interval": poll_seconds},
        ),
    ]


def produce(broker: Broker, producer: int, count: int, pause_seconds: float, errors: Any) -> None:
    """Send numbered messages; a failed send is tried again, as the dispatcher does."""
    failures: Counter[str] = Counter()
    with broker.connect() as connection:
        queue = connection.SimpleQueue("jobs")
        for number in range(count):
            while True:
                try:
                    queue.put([producer, number])
                    break
                except Exception as error:
                    failures[_kind(error)] += 1
            time.sleep(pause_seconds)
    errors.put(dict(failures))


def send_slowly(broker: Broker, count: int) -> None:
    """Send the time, with pauses in which the consumer falls asleep."""
    with broker.connect() as connection:
        queue = connection.SimpleQueue("jobs")
        for number in range(count):
            time.sleep(0.35 + 0.017 * number % 0.2)
            queue.put([time.time(), number])


def measure(broker: Broker, producers: int, messages: int, pause_seconds: float, folder: Path) -> Measurement:
    """Stress, idle and latency of one broker."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=produce, args=(broker, n, messages // producers, pause_seconds, results))
        for n in range(producers)
    ]
    seen: Counter[tuple[int, int]] = Counter()
    errors: Counter[str] = Counter()
    with broker.connect() as connection:
        queue = connection.SimpleQueue("jobs", no_ack=True)
        for worker in workers:
            worker.start()
        started = time.monotonic()
        last = started
        expected = producers * (messages // producers)
        while sum(seen.values()) < expected:
            try:
                producer, number = queue.get(timeout=3.0).payload
                seen[producer, number] += 1
                last = time.monotonic()
            except Empty:
                if not any(worker.is_alive() for worker in workers):
                    break
            except Exception as error:
                errors[_kind(error)] += 1
        failures: Counter[str] = Counter()
        for worker in workers:
            failures.update(results.get())
            worker.join()
        idle = _idle_cpu_percent(queue)
        latencies = _latencies(broker, queue, context)
    return Measurement(
        broker=broker.name,
        sent=expected,
        received=sum(seen.values()),
        lost=expected - len(seen),
        doubled=sum(count - 1 for count in seen.values()),
        producer_errors=dict(failures),
        consumer_errors=dict(errors),
        messages_per_second=round(len(seen) / max(last - started, 1e-9), 1),
        idle_cpu_percent=round(idle, 2),
        latency_ms_median=round(statistics.median(latencies), 1),
        latency_ms_max=round(max(latencies), 1),
        bytes_on_disk=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def _idle_cpu_percent(queue: Any) -> float:
    before, started = time.process_time(), time.monotonic()
    while (left := IDLE_SECONDS - (time.monotonic() - started)) > 0:
        try:
            queue.get(timeout=left)
        except Empty:
            break
    return 100 * (time.process_time() - before) / (time.monotonic() - started)


def _latencies(broker: Broker, queue: Any, context: Any) -> list[float]:
    sender = context.Process(target=send_slowly, args=(broker, LATENCY_MESSAGES))
    sender.start()
    latencies = []
    for _ in range(LATENCY_MESSAGES):
        sent, _number = queue.get(timeout=30).payload
        latencies.append((time.time() - sent) * 1000)
    sender.join()
    return latencies


def _kind(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:60] if str(error) else ''}"


def main() -> None:
    """Measure every candidate and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--producers", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two sends of a producer")
    parser.add_argument("--poll", type=float, default=0.2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = [
            measure(broker, options.producers, options.messages, options.pause, folder)
            for broker in brokers(folder, options.poll)
        ]
    report = {"options": vars(options), "brokers": [asdict(each) for each in found]}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
