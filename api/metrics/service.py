"""The metrics of the deployment, read from its rows at every scrape.

Each API process gives the same answer, and none of it is lost by a restart: the rows are the truth here as well.
"""

import logging
from collections.abc import Iterable, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import CollectorRegistry, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.metrics.requests import RequestMetrics
from api.resources import Resources
from core.queries.numbers import Numbers, count_numbers

log = logging.getLogger(__name__)


def render(resources: Resources, requests: RequestMetrics) -> bytes:
    """Everything in the format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(RowMetrics(resources))
    return generate_latest(registry) + generate_latest(requests.registry)


class RowMetrics(Collector):
    """What the rows say; when the database is away, only that."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing in advance: registering must not ask the database."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Ask the database once."""
        try:
            with self._resources.database.read() as session:
                numbers = count_numbers(session)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("no metrics: the database does not answer: %s", type(error).__name__)
            yield _gauge("wecolora_database_up", "Whether the database answers.", {(): 0})
            return
        yield _gauge("wecolora_database_up", "Whether the database answers.", {(): 1})
        yield from families(numbers)


def families(numbers: Numbers) -> Iterable[GaugeMetricFamily]:
    """The numbers as metrics; all are gauges, since rows can be deleted."""
    by_state: dict[tuple[str, ...], float] = {("job", name): count for name, count in numbers.jobs.items()}
    by_state |= {("dataset", name): count for name, count in numbers.datasets.items()}
    yield _gauge("wecolora_rows", "Rows by state.", by_state, "kind", "state")
    yield _gauge(
        "wecolora_queue_depth", "Rows that a worker could take now.", _keyed(numbers.waiting), "queue"
    )
    yield _gauge(
        "wecolora_queue_oldest_seconds",
        "Age of the oldest row that a worker could take now.",
        _keyed(numbers.oldest_waiting_seconds),
        "queue",
    )
    yield _gauge("wecolora_leases", "Rows that a worker holds.", _keyed(numbers.leases), "kind")
    yield _gauge(
        "wecolora_lease_age_seconds",
        "Time since the last heartbeat of the worker that has been silent longest.",
        _keyed(numbers.lease_age_seconds),
        "kind",
    )
    yield _gauge("wecolora_jobs_in_phase", "Running jobs by phase.", _keyed(numbers.phases), "phase")
    yield _gauge(
        "wecolora_images_per_second",
        "Images that all trainers together learn from.",
        {(): numbers.images_per_second},
    )
    yield _gauge(
        "wecolora_gpu_memory_bytes", "Used memory of a busy GPU.", _keyed(numbers.gpu_memory_bytes), "worker"
    )
    finished = "of jobs that ended within the last hour, by phase."
    seconds, ends = numbers.phase_seconds, numbers.phase_ends
    yield _gauge("wecolora_last_hour_phase_seconds_sum", f"Time {finished}", _keyed(seconds), "phase")
    yield _gauge("wecolora_last_hour_phase_seconds_count", f"Phases {finished}", _keyed(ends), "phase")
    yield _gauge(
        "wecolora_webhook_deliveries", "Deliveries in the log by state.", _keyed(numbers.deliveries), "state"
    )
    yield _gauge(
        "wecolora_webhook_overdue_seconds",
        "For how long the oldest delivery has been due that nobody took.",
        {(): numbers.oldest_due_delivery_seconds},
    )
    yield _gauge("wecolora_webhooks", "Endpoints by state.", _keyed(numbers.webhooks), "state")


def _keyed(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}


def _gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
