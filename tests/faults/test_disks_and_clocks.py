"""A worker whose disk is full, whose memory runs out, or whose clock is wrong."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import libfaketime
import pytest

from tests.e2e.service import wait_for
from tests.faults.cluster import Cluster, Machine
from tests.faults.conftest import Strike

pytestmark = pytest.mark.timeout(900)
GIBIBYTE = 1 << 30
CLOCK = Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"


@pytest.fixture
def alone(cluster: Cluster) -> Iterator[Machine]:
    """Worker a, stopped for a change, while b is down."""
    for name in ("a", "b"):
        cluster[name].stop()
    yield cluster["a"]
    if cluster["a"].process is not None:
        cluster["a"].stop()
    for name in ("a", "b"):
        cluster[name].start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_workers_disk_is_full_for_a_while(
    cluster: Cluster, strike: Strike, alone: Machine, small_disk: Path
) -> None:
    fault = strike("a worker's disk is full while checkpoints are due")
    alone.start(WECOLORA_DATA_DIR=str(small_disk), TMPDIR=str(small_disk))
    job_id = fault.start(epochs=24)
    cluster.wait_for_checkpoint(job_id, 20)
    ballast = small_disk / "ballast"
    with fault.injected(job_id):
        _fill(ballast)
        wait_for(
            lambda: [each for each in cluster.events(job_id) if "could not be written" in each["message"]]
        )
    ballast.unlink()
    job = cluster.wait_for_end(job_id)
    assert job["attempt"] == 1


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_workers_clock_is_wrong(cluster: Cluster, strike: Strike, alone: Machine, minutes: int) -> None:
    fault = strike(f"a worker's clock is {minutes:+d} min off")
    fault.times += 1
    alone.start(LD_PRELOAD=str(CLOCK), FAKETIME=f"{minutes:+d}m", DONT_FAKE_MONOTONIC="1")
    job_id = fault.start()
    job = cluster.wait_for_end(job_id)
    assert job["attempt"] == 1
    stamps = [each["timestamp"] for each in alone.log() if each.get("job_id") == job_id]
    off = _seconds(stamps[-1]) - _seconds(job["finished_at"])
    assert abs(off - 60 * minutes) < 60, "the worker's own clock was wrong"
    assert job["created_at"] <= job["started_at"] <= job["finished_at"], "the rows have the database's"


def test_a_batch_does_not_fit_into_memory(cluster: Cluster, strike: Strike, alone: Machine) -> None:
    fault = strike("a batch needs more memory than there is")
    alone.start(most_bytes=7 * GIBIBYTE // 2)
    fault.times += 1
    job_id = fault.start("failed", image_size=1536, batch_size=200, recipe="paper")
    job = cluster.wait_for_end(job_id)
    assert (job["state"], job["attempt"], job["error"]["code"]) == ("failed", 1, "out_of_memory")
    tries = [each["message"] for each in cluster.events(job_id) if "Out of memory" in each["message"]]
    assert tries == ["Out of memory with batches of 200; trying 100."], "once more, and no loop"
    following = fault.start()
    assert cluster.wait_for_end(following)["state"] == "succeeded", "the worker is as before"


def _fill(ballast: Path) -> None:
    """Leave no byte on the disk."""
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(ballast.parent).free)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
