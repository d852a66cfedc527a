"""A real Celery worker whose jobs succeed as soon as they are claimed: `celery -A benchmarks.noop_worker worker`."""

from collections.abc import Callable

from sqlalchemy.orm import Session

import worker.jobs
from core import leases
from core.leases import Claim
from worker.app import app as app
from worker.attempt import run_attempt
from worker.runtime import Runtime
from worker.supervisor import Work


def succeed_at_once(runtime: Runtime, claim: Claim, make_work: Callable[[Session], Work]) -> None:
    """In the place of an attempt."""
    runtime.write(lambda session: leases.succeed(session, claim, {}, []))


vars(worker.jobs)[run_attempt.__name__] = succeed_at_once
