"""The trainer: runs one job in a process of its own. Started by the worker as `python -m worker.trainer`."""

from core.settings import get_settings
from core.states import Phase
from worker.cache import Cache
from worker.childside import Worker, run_child
from worker.errors import WorkerError
from worker.fetch import Inputs, fetch_inputs
from worker.patience import PatientStorage
from worker.protocol import ErrorMessage, JobSpec, PhaseMessage


def train(worker: Worker, spec: JobSpec) -> None:
    """Run the job; what its owner can mend is reported as final, and never tried again by itself."""
    worker.send(PhaseMessage(phase=Phase.FETCHING))
    with Cache(spec.cache, spec.cache_bytes) as cache:
        run(worker, spec, PatientStorage.open(get_settings(), worker), cache)


def run(worker: Worker, spec: JobSpec, storage: PatientStorage, cache: Cache) -> None:
    """Fetch, then distil."""
    try:
        inputs = fetch_inputs(storage, spec, cache)
    except WorkerError as error:
        worker.send(
            ErrorMessage(
                code=error.code,
                message=str(error),
                param=error.param,
                retryable=error.retryable,
                is_final=not error.retryable,
            )
        )
    else:
        distil(worker, spec, inputs, storage)


def distil(worker: Worker, spec: JobSpec, inputs: Inputs, storage: PatientStorage) -> None:
    """Everything that needs torch, whose import takes seconds: a job that cannot be fetched fails before it."""
    from wecolora.errors import (
        CheckpointNotWritten,
        Interrupted,
        RankFailed,
        TeacherUnavailable,
        WecoloraError,
    )
    from worker.pipeline import Pipeline

    try:
        Pipeline(spec, inputs, storage, worker).run()
    except Interrupted:
        worker.stop_now()
    except WecoloraError as error:
        # As when the trainer itself dies: not the owner's to mend.
        is_final = not isinstance(error, RankFailed | CheckpointNotWritten)
        worker.send(
            ErrorMessage(
                code=error.code,
                message=str(error),
                param=error.field,
                retryable=not is_final or isinstance(error, TeacherUnavailable),
                is_final=is_final,
            )
        )


def load_engine() -> None:
    """Import what a job needs."""
    import worker.pipeline  # noqa: F401


if __name__ == "__main__":
    run_child(JobSpec, train, load_engine)
