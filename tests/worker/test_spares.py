"""A trainer that is started ahead."""

import os
import signal
from pathlib import Path

import pytest

from tests.servers import wait_until
from worker.child import ChildProcess
from worker.runtime import Runtime
from worker.spares import TRAINER, Spares

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def spares(runtime: Runtime):
    spares = Spares(runtime.settings.model_copy(update={"spare_trainer": True}))
    yield spares
    spares.close()


def has_loaded(child: ChildProcess) -> bool:
    return "libtorch" in Path(f"/proc/{child.pid}/maps").read_text()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_next_job_gets_the_one_that_has_its_libraries_loaded(spares: Spares) -> None:
    spares.refill()
    spare = spares._spare
    spares.refill()
    assert spares._spare is spare, "one is enough"
    wait_until(lambda: has_loaded(spare), 60)
    assert spares.take("worker.ingester") is not spare
    assert spares.take(TRAINER) is spare
    assert spares.take(TRAINER) is not spare


def test_a_spare_that_has_died_is_not_handed_out(spares: Spares) -> None:
    spares.refill()
    dead = spares._spare
    os.kill(dead.pid, signal.SIGKILL)
    wait_until(lambda: not dead.is_alive)
    child = spares.take(TRAINER)
    assert child.is_alive
    child.close()


def test_without_the_setting_none_waits(runtime: Runtime) -> None:
    assert not runtime.settings.spare_trainer
    runtime.spares.refill()
    assert runtime.spares._spare is None


def test_a_spare_ends_with_its_worker(spares: Spares) -> None:
    spares.refill()
    pid = spares._spare.pid
    spares._spare._process.stdin.close()  # what the system does when the worker dies
    wait_until(lambda: not is_running(pid), 60)
    spares.close()
    spares.refill()
    assert spares._spare is None, "none is started after the end"
