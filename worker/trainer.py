"""The trainer: runs one job in a process of its own. Started by the worker as `python -m worker.trainer`."""

from core.settings import get_settings
from core.storage import Storage
from wecolora.errors import Interrupted, TeacherUnavailable, WecoloraError
from worker.childside import Worker, run_child
from worker.errors import WorkerError
from worker.pipeline import Pipeline
from worker.protocol import ErrorMessage, JobSpec


def train(worker: Worker, spec: JobSpec) -> None:
    """Run the job; what its owner can mend is reported as final and never tried again."""
    try:
        Pipeline(spec, Storage.from_settings(get_settings()), worker).run()
    except Interrupted:
        worker.stop_now()
    except WecoloraError as error:
        retryable = isinstance(error, TeacherUnavailable)
        worker.send(ErrorMessage(code=error.code, message=str(error), param=error.field, retryable=retryable))
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


if __name__ == "__main__":
    run_child(JobSpec, train)
