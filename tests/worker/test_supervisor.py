"""Whatever happens to the child, the row ends in exactly one state that somebody can act on."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update

from core import leases
from core.leases import Claim
from core.models import Artifact, Job, JobEvent
from core.principals import SYSTEM
from core.queries.jobs import request_cancel
from core.settings import to_environment
from core.states import JobState
from tests.core.rows import add_job, count, get
from tests.servers import wait_until
from tests.worker.scripted_child import Script
from worker.child import ChildProcess
from worker.jobs import JobWork
from worker.protocol import JobSpec
from worker.runtime import Runtime
from worker.supervisor import supervise


class ScriptedWork(JobWork):
    """A job whose trainer plays a script."""

    module = "tests.worker.scripted_child"

    def __init__(self, runtime: Runtime, claim: Claim, steps: list[str]) -> None:
        super().__init__(runtime, claim, JobSpec.model_construct(checkpoints=[]))
        self.spec = Script(steps=steps, prefix=f"jobs/{claim.id}")


def claim(runtime: Runtime, job_id: str) -> Claim:
    found = runtime.write(lambda s: leases.claim_job(s, job_id, runtime.worker_id, 5))
    assert found is not None
    return found


@pytest.fixture
def play(runtime: Runtime) -> Callable[..., Job]:
    """Run a script as a job's attempt and return the job's row; `meanwhile` acts once the child is up."""

    def play(*steps: str, job_id: str | None = None, meanwhile: Callable[[str], None] | None = None) -> Job:
        job_id = job_id or add_job(runtime.database)
        held = claim(runtime, job_id)
        act = threading.Timer(0.8, meanwhile, [job_id]) if meanwhile else None
        if act:
            act.start()
        supervise(runtime, held, ScriptedWork(runtime, held, list(steps)))
        if act:
            act.join()
        return get(runtime.database, Job, job_id)

    return play


def messages(runtime: Runtime, job: Job) -> list[str]:
    with runtime.database.read() as session:
        statement = select(JobEvent.message).where(JobEvent.job_id == job.id).order_by(JobEvent.seq)
        return list(session.scalars(statement))


def cancel(runtime: Runtime) -> Callable[[str], None]:
    return lambda job_id: runtime.write(lambda s: request_cancel(s, job_id, SYSTEM)) and None


def wait_for_checkpoint(runtime: Runtime, job_id: str) -> None:
    wait_until(lambda: get(runtime.database, Job, job_id).checkpoint is not None)


def test_a_result_publishes_its_files_with_the_success(runtime: Runtime, play) -> None:
    job = play("phase distilling", "progress", "log beware", "checkpoint 5", "result")
    assert (job.state, job.result, job.worker_id) == (JobState.SUCCEEDED, {"steps": 9}, None)
    assert job.progress["loss"] == 0.5
    assert count(runtime.database, Artifact) == 1
    assert "beware" in messages(runtime, job)
    assert "Step 1 of 9, loss 0.5000." in messages(runtime, job)


@pytest.mark.parametrize("end", ["error non_finite_loss", "error out_of_range", "sleep 60"])
def test_the_last_checkpoint_of_a_job_that_failed_or_was_cancelled_is_kept_for_a_retry(
    runtime: Runtime, play, end: str
) -> None:
    job_id = add_job(runtime.database)
    key = f"jobs/{job_id}/checkpoints/1/5.safetensors"
    runtime.storage.put_bytes(key, b"weights")

    def cancel_once_it_is_recorded(job_id: str) -> None:
        wait_for_checkpoint(runtime, job_id)
        cancel(runtime)(job_id)

    job = play(
        "checkpoint 5", end, job_id=job_id, meanwhile=cancel_once_it_is_recorded if "sleep" in end else None
    )
    assert job.state in (JobState.FAILED, JobState.CANCELLED)
    assert job.checkpoint["step"] == 5
    assert runtime.storage.list_keys(f"jobs/{job_id}/checkpoints") == [key]


def test_a_killed_trainer_gives_the_job_back_with_a_hint_at_memory(runtime: Runtime, play) -> None:
    job = play("checkpoint 5", "print almost there\n", "kill")
    assert (job.state, job.failed_attempts, job.checkpoint["step"]) == (JobState.QUEUED, 1, 5)
    reason = messages(runtime, job)[-1]
    assert "trainer_killed" in reason
    assert "memory" in reason
    assert "almost there" in reason
    assert count(runtime.database, Artifact) == 0


def test_a_job_whose_trainer_always_dies_fails_in_the_end(play) -> None:
    first = play("exit 3")
    assert first.state is JobState.QUEUED
    job = play("raise out of luck", job_id=first.id)
    assert (job.state, job.attempt, job.error["code"]) == (JobState.FAILED, 2, "attempts_exhausted")
    assert "RuntimeError: out of luck" in job.error["message"]


def test_what_the_user_can_mend_is_failed_at_once(play) -> None:
    job = play("error out_of_range", "sleep 30")
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error == {"code": "out_of_range", "message": "lr is 9.", "param": "lr", "retryable": False}


def test_a_cancelled_job_stops(runtime: Runtime, play) -> None:
    started = time.monotonic()
    job = play("sleep 60", meanwhile=cancel(runtime))
    assert job.state is JobState.CANCELLED
    assert time.monotonic() - started < 10


def test_a_trainer_that_ignores_the_request_is_killed_after_the_grace_time(runtime: Runtime, play) -> None:
    job = play("deaf", "sleep 60", meanwhile=cancel(runtime))
    assert job.state is JobState.CANCELLED


def test_a_cancel_that_comes_with_the_result_leaves_one_end(runtime: Runtime, play) -> None:
    job = play("sleep 0.4", "result", "sleep 0.5", meanwhile=cancel(runtime))
    assert job.state in (JobState.SUCCEEDED, JobState.CANCELLED)
    ends = [m for m in messages(runtime, job) if m in ("The job succeeded.", "The job was cancelled.")]
    assert len(ends) == 1


def test_a_worker_that_is_told_to_stop_gives_the_job_back_uncharged(runtime: Runtime, play) -> None:
    def drain(job_id: str) -> None:
        wait_for_checkpoint(runtime, job_id)
        runtime.draining.set()

    job = play("checkpoint 5", "sleep 60", meanwhile=drain)
    assert (job.state, job.failed_attempts, job.checkpoint["step"]) == (JobState.QUEUED, 0, 5)
    assert messages(runtime, job)[-1] == "Attempt 1 ended: the worker was told to stop"


def test_an_attempt_that_lost_its_lease_ends_and_writes_nothing(runtime: Runtime, play) -> None:
    def steal(job_id: str) -> None:
        values = {"attempt": 2, "worker_id": "another"}
        runtime.write(lambda s: s.execute(update(Job).where(Job.id == job_id).values(**values)))

    def slow_steps() -> list[str]:
        return ["sleep 1.5", "checkpoint 99", "result"]

    job = play(*slow_steps(), meanwhile=steal)
    assert (job.state, job.attempt, job.worker_id) == (JobState.RUNNING, 2, "another")
    assert job.checkpoint is None
    assert count(runtime.database, Artifact) == 0


def test_the_same_message_delivered_twice_is_claimed_once(runtime: Runtime) -> None:
    job_id = add_job(runtime.database)
    assert claim(runtime, job_id)
    assert runtime.write(lambda s: leases.claim_job(s, job_id, "another", 5)) is None


def test_output_without_end_costs_no_memory_and_does_not_block(runtime: Runtime, play) -> None:
    job = play("flood", "exit 4")
    assert "the last line" in messages(runtime, job)[-1]
    assert len(messages(runtime, job)[-1]) < 3000


def test_a_line_that_is_no_message_is_kept_for_the_report_and_does_no_harm(play) -> None:
    assert play("nonsense", "result").state is JobState.SUCCEEDED


def start_child(runtime: Runtime, *steps: str) -> ChildProcess:
    child = ChildProcess("tests.worker.scripted_child", to_environment(runtime.settings))
    child.begin(Script(steps=list(steps)))
    while child.next_message(10) is None:
        pass
    return child


def test_what_the_child_started_ends_with_it(runtime: Runtime) -> None:
    child = start_child(runtime, "orphan", "phase fetching")
    child.wait()
    child.close()
    # Killed is not yet gone, on a busy machine.
    wait_until(
        lambda: not any(_group_of(path) == child.pid for path in Path("/proc").glob("[0-9]*/stat")), 10
    )


def test_a_child_ends_when_its_worker_is_gone(runtime: Runtime) -> None:
    child = start_child(runtime, "phase fetching", "sleep 600")
    child._process.stdin.close()  # what the system does when the worker dies
    with pytest.raises(EOFError):
        child.next_message(10)
    assert child.wait() == 1
    child.close()


def _group_of(stat: Path) -> int | None:
    try:
        state, _parent, group = stat.read_text().rsplit(")", 1)[1].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else int(group)
