"""What can go wrong, each with a message for the person who called."""

from wecolora_client.models import Dataset, Job, Problem


class ClientError(Exception):
    """Base of everything that this package raises."""


class Unreachable(ClientError):
    """The service did not answer, also not when asked again."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} does not answer: {reason or 'no reason given'}")


class ServiceError(ClientError):
    """The service refused a request.

    Attributes:
        problem: its own words (RFC 9457): a stable `code`, and the fields at fault in `errors`.
        retry_after_seconds: when the service asks to be asked again, or None.
    """

    def __init__(self, problem: Problem, retry_after_seconds: float | None = None) -> None:
        fields = "; ".join(f"{each.field}: {each.message}" for each in problem.errors)
        super().__init__(fields or problem.detail or f"{problem.status} {problem.title}")
        self.problem = problem
        self.retry_after_seconds = retry_after_seconds


class DatasetFailed(ClientError):
    """An upload could not be read in."""

    def __init__(self, dataset: Dataset) -> None:
        reason = dataset.error.message if dataset.error else "no reason given"
        super().__init__(f"dataset {dataset.id} cannot be used: {reason}")
        self.dataset = dataset


class JobFailed(ClientError):
    """A job ended without a student."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.error.message if job.error else f"job {job.id} was {job.state}")
        self.job = job


class NothingToUpload(ClientError):
    """A folder holds no files, or a path does not exist."""


class DamagedDownload(ClientError):
    """A file is not what the service stored."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} arrived damaged; download it again")


class InvalidWebhook(ClientError):
    """A message that the service did not send, or not lately."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a webhook of the service: {reason}")
