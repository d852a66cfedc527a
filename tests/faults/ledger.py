"""What each fault has cost: jobs lost, things doubled, seconds until the work went on."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.service import TERMINAL, wait_for
from tests.faults.cluster import Cluster

STUDENT = "student.safetensors"
SWEPT_SECONDS = 60
JOB = {"teacher": "sample-digits", "r": 2, "k": 8, "epochs": 16, "batch_size": 16, "seed": 3}


@dataclass
class Fault:
    """A kind of fault, and what became of the jobs that it struck.

    Attributes:
        name: as the table has it.
        times: that it was injected.
        jobs: each with the state that it had to end in.
        seconds: from each injection until the job's work went on.
        lost: jobs that ended otherwise, or with another student than an undisturbed run.
        doubled: successes, files and events that there were twice.
        others: jobs with options of their own, whose student is none that an undisturbed run made.
    """

    name: str
    cluster: Cluster
    images: str
    weights: str
    times: int = 0
    jobs: dict[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    others: set[str] = field(default_factory=set)

    def start(self, expected: str = "succeeded", **changes: Any) -> str:
        """Start a job that has to end in a state; its id."""
        body = {**JOB, "dataset_id": self.images, **changes}
        job_id: str = self.cluster.post("/jobs", json=body)["id"]
        self.jobs[job_id] = expected
        if changes:
            self.others.add(job_id)
        return job_id

    @contextlib.contextmanager
    def injected(self, job_id: str) -> Iterator[None]:
        """Inject inside; afterwards, wait until the job is further than it was, and keep the time."""
        before = self.cluster.job(job_id)
        self.times += 1
        started = time.monotonic()
        yield

        def goes_on() -> bool:
            job = self.cluster.job(job_id)
            if job["state"] in TERMINAL or job["phase"] in ("merging", "exporting", "publishing"):
                return True
            return job["phase"] == "distilling" and _step(job) > _step(before)

        wait_for(goes_on, 240)
        self.seconds.append(time.monotonic() - started)

    def settle(self) -> None:
        """Wait for every job's end and count what is lost and what there is twice."""
        for job_id, expected in self.jobs.items():
            job = self.cluster.wait_for_end(job_id)
            events = self.cluster.events(job_id)
            self.lost += job["state"] != expected or not self._is_whole(job)
            ends = [each for each in events if each["message"] == f"The job {job['state']}."]
            numbers = [each["seq"] for each in events]
            self.doubled += max(0, len(ends) - 1) + len(numbers) - len(set(numbers))
            assert numbers == list(range(1, len(numbers) + 1)), "there is a gap"
            deadline = time.monotonic() + SWEPT_SECONDS
            while (left := self._left_behind(job)) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not left, f"attempt {job['attempt']} left objects behind: {left}"

    def _is_whole(self, job: dict[str, Any]) -> bool:
        if job["state"] != "succeeded":
            return not self.cluster.get(f"/jobs/{job['id']}/artifacts")["data"]
        weights = self.cluster.download(job["id"], STUDENT)
        return job["id"] in self.others or hashlib.sha256(weights).hexdigest() == self.weights

    def _left_behind(self, job: dict[str, Any]) -> list[str]:
        """Objects that should not be there: of attempts that did not succeed, and checkpoints of a job that did."""
        kept = (f"attempts/{job['attempt']}/",) if job["state"] == "succeeded" else ("checkpoints/",)
        return [key for key in self.cluster.objects(job["id"]) if not key.startswith(kept)]


def _step(job: dict[str, Any]) -> int:
    return (job["progress"] or {}).get("step", 0)


def table(faults: list[Fault]) -> list[str]:
    """The suite's result, a line each, as Markdown."""
    rows = [
        "| fault | injected | jobs | lost | doubled | seconds until the work went on |",
        "|---|---|---|---|---|---|",
    ]
    for fault in faults:
        seconds = ", ".join(f"{each:.1f}" for each in fault.seconds) or "–"
        rows.append(
            f"| {fault.name} | {fault.times} | {len(fault.jobs)} | {fault.lost} | {fault.doubled} | {seconds} |"
        )
    return rows
