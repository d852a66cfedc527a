"""One deployment for all faults, and the table at the end."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from samples.digits import write_digits
from tests.backends import Redis, run_store
from tests.e2e.conftest import pack
from tests.faults.cluster import Cluster, Servers
from tests.faults.ledger import JOB, STUDENT, Fault, table
from tests.servers import run_postgres

PASSWORD = "of-the-tests-alone"
FAULTS = pytest.StashKey[list[Fault]]()
Strike = Callable[[str], Fault]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FAULTS] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    faults = config.stash[FAULTS]
    if faults:
        terminalreporter.section("faults: jobs lost and things doubled")
        for line in table(faults):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    redis = Redis(password=PASSWORD)
    try:
        with run_postgres() as postgres, run_store() as store:
            cluster = Cluster(Servers(postgres, redis, store, PASSWORD), tmp_path_factory.mktemp("cluster"))
            try:
                cluster.open()
                yield cluster
            finally:
                cluster.close()
    finally:
        redis.stop()


@pytest.fixture(scope="session")
def images(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("digits")
    unlabelled = pack(write_digits(folder).unlabelled, folder, limit=200)
    return cluster.upload("digits for faults", ("digits.zip", unlabelled))


@pytest.fixture(scope="session")
def weights(cluster: Cluster, images: str) -> str:
    """SHA-256 of the student of a job that nothing disturbs."""
    job = cluster.post("/jobs", json={**JOB, "dataset_id": images})
    job = cluster.wait_for_end(job["id"])
    assert (job["state"], job["attempt"]) == ("succeeded", 1), job["error"]
    assert job["result"]["seconds"] > 2, "longer than the visibility timeout of the queue's messages"
    return hashlib.sha256(cluster.download(job["id"], STUDENT)).hexdigest()


@pytest.fixture
def strike(pytestconfig: pytest.Config, cluster: Cluster, images: str, weights: str) -> Iterator[Strike]:
    """Names a fault; when the test ends, every job that it struck is settled."""
    struck: list[Fault] = []

    def strike(name: str) -> Fault:
        fault = Fault(name, cluster, images, weights)
        struck.append(fault)
        return fault

    yield strike
    for fault in struck:
        pytestconfig.stash[FAULTS].append(fault)
        fault.settle()
        assert (fault.lost, fault.doubled) == (0, 0), fault
