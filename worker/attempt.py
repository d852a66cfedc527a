"""One attempt at a claimed job or dataset, from its specification to the last trace of its scratch folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from core.leases import Claim
from core.logs import log_context
from core.tracing import attempt_span
from worker.runtime import Runtime
from worker.supervisor import Work, supervise


def scratch_folder(runtime: Runtime, claim: Claim) -> Path:
    """Where the attempt's child may write; named by the attempt, so that no two share one."""
    return runtime.settings.data_dir.resolve() / "scratch" / claim.id / str(claim.attempt)


def run_attempt(runtime: Runtime, claim: Claim, make_work: Callable[[Session], Work]) -> None:
    """Run the attempt to its end, with its id in every log record and trace.

    Args:
        runtime: of this worker.
        claim: of the row.
        make_work: reads from the rows what the child needs to know.
    """
    scratch = scratch_folder(runtime, claim)
    with (
        log_context(**{f"{claim.kind}_id": claim.id}, attempt=claim.attempt),
        attempt_span(claim.kind, claim.id, claim.attempt),
    ):
        with runtime.database.read() as session:
            work = make_work(session)
        _remove_older(scratch)
        try:
            supervise(runtime, claim, work)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _remove_older(scratch: Path) -> None:
    """Remove what attempts of killed workers left."""
    for folder in scratch.parent.glob("*"):
        if folder.name.isdecimal() and int(folder.name) < int(scratch.name):
            shutil.rmtree(folder, ignore_errors=True)
