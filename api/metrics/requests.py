"""What this process has answered. Several API processes are told apart by Prometheus's own label `instance`."""

from prometheus_client import CollectorRegistry, Histogram

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class RequestMetrics:
    """Counts and times requests in a registry of their own, so that several applications may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "wecolora_http_request_seconds",
            "Time until a request was answered completely, by route and status.",
            ["method", "route", "status"],
            buckets=BUCKETS_SECONDS,
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._seconds.labels(method, route or "none", str(status)).observe(seconds)
