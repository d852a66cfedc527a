"""What can go wrong, as one tree of classes that carry data.

`api/problems.py` is the one place that turns them into HTTP; nothing here knows of it beyond the status code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field of a request."""

    field: str
    message: str
    allowed: str | None = None
    input: Any = None


def in_words(problems: Sequence[FieldProblem]) -> str:
    """The problems as one sentence, ranges included, for those who read only that."""
    ranges = (f" (allowed: {problem.allowed})" if problem.allowed else "" for problem in problems)
    named = (f"{problem.field}: {problem.message}" for problem in problems)
    return "; ".join(f"{name}{allowed}" for name, allowed in zip(named, ranges, strict=True)) + "."


class ServiceError(Exception):
    """Root of the service's errors; `str(error)` is a sentence for the user."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retry_after_seconds: int | None = None
    problems: Sequence[FieldProblem] = ()


class NotFound(ServiceError):
    """No row of that kind has that id or name."""

    code = "not_found"
    status = 404
    title = "Not found"

    def __init__(self, kind: str, identifier: str) -> None:
        self.kind, self.identifier = kind, identifier
        super().__init__(f"There is no {kind} {identifier!r}.")


class Unauthenticated(ServiceError):
    """The request shows no key where one is asked for."""

    code = "unauthenticated"
    status = 401
    title = "Unauthenticated"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message or "This needs an API key; send it in the header 'Authorization: Bearer wcl_…'."
        )


class InvalidKey(Unauthenticated):
    """The key that was shown is none, or is one no more."""

    code = "invalid_key"
    title = "Invalid API key"


class InsufficientScope(ServiceError):
    """The key is good, but not for this."""

    code = "insufficient_scope"
    status = 403
    title = "Insufficient scope"

    def __init__(self, scope: str, needed: str) -> None:
        self.scope, self.needed = scope, needed
        super().__init__(f"The API key has the scope {scope!r}; this needs {needed!r}.")


class QuotaExceeded(ServiceError):
    """It would be more than the owner may have; waiting does not help."""

    code = "quota_exceeded"
    status = 403
    title = "Quota exceeded"

    def __init__(self, quota: str, owner: str, limit: int, needed: int) -> None:
        self.quota, self.owner, self.limit, self.needed = quota, owner, limit, needed
        super().__init__(
            f"{owner!r} may have {limit:,} {quota}, and with this it would be {needed:,} or more. "
            "An administrator can raise the quota."
        )


class TooManyRequests(ServiceError):
    """It is too much for now; `retry_after_seconds` says when it may be tried again."""

    status = 429
    title = "Too many requests"

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        self.retry_after_seconds = max(1, math.ceil(retry_after_seconds))
        super().__init__(message)


class RateLimited(TooManyRequests):
    """The owner's requests come too fast."""

    code = "rate_limited"


class TooManyJobs(TooManyRequests):
    """As many jobs of the owner wait as may."""

    code = "too_many_jobs"
    title = "Too many jobs"


class DeviceTimeSpent(TooManyRequests):
    """The owner's jobs have had their time on the devices for this period."""

    code = "device_time_spent"
    title = "Device time spent"


class InvalidFields(ServiceError):
    """One or more fields are outside what is allowed."""

    code = "invalid_request"
    status = 422
    title = "Invalid request"

    def __init__(self, *problems: FieldProblem) -> None:
        self.problems = problems
        super().__init__(in_words(problems))


class UnsupportedTeacher(InvalidFields):
    """A known architecture whose blocks do not fit the method."""

    code = "unsupported_architecture"
    title = "Unsupported architecture"


class UnknownTeacher(InvalidFields):
    """No teacher has that name."""

    code = "unknown_teacher"
    title = "Unknown teacher"


class InvalidTeacherFile(ServiceError):
    """An uploaded checkpoint that cannot be a teacher; `tensor` names the first one at fault."""

    code = "invalid_teacher_file"
    status = 422
    title = "Invalid teacher file"

    def __init__(self, reason: str, tensor: str | None = None) -> None:
        self.tensor = tensor
        self.problems = (FieldProblem("file", reason, input=tensor),)
        super().__init__(reason)


class IdempotencyKeyReused(ServiceError):
    """The key came with another request before."""

    code = "idempotency_key_reused"
    status = 422
    title = "Idempotency key reused"

    def __init__(self, key: str) -> None:
        self.key = key
        message = "this key was sent with another request; make up a new one for each request"
        self.problems = (FieldProblem("Idempotency-Key", message, input=key),)
        super().__init__(f"Idempotency-Key: {message}.")


class ChecksumMismatch(ServiceError):
    """The bytes that arrived are not the bytes that were announced."""

    code = "checksum_mismatch"
    status = 422
    title = "Checksum mismatch"

    def __init__(self, field: str, announced: str, received: str) -> None:
        self.announced, self.received = announced, received
        message = f"announced sha256 {announced}, received {received}; send it again"
        self.problems = (FieldProblem(field, message, input=announced),)
        super().__init__(f"{field}: {message}.")


class PayloadTooLarge(ServiceError):
    """The body is larger than the limit."""

    code = "payload_too_large"
    status = 413
    title = "Payload too large"

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"The body is larger than the limit of {limit_bytes:,} bytes.")


class WrongState(ServiceError):
    """The row is in a state that does not allow this."""

    code = "wrong_state"
    status = 409
    title = "Wrong state"

    def __init__(self, kind: str, identifier: str, state: str, needed: str) -> None:
        self.kind, self.identifier, self.state, self.needed = kind, identifier, state, needed
        super().__init__(f"The {kind} {identifier} is {state}; this needs it to be {needed}.")


class NotUploaded(ServiceError):
    """A part is to be confirmed of which nothing was stored."""

    code = "not_uploaded"
    status = 409
    title = "Not uploaded"

    def __init__(self, dataset_id: str, number: int) -> None:
        self.dataset_id, self.number = dataset_id, number
        super().__init__(
            f"Nothing was stored for part {number} of {dataset_id}; PUT its bytes to the URL first, and ask for "
            "another when that one has expired."
        )


class InUse(ServiceError):
    """Jobs that wait or run need it."""

    code = "in_use"
    status = 409
    title = "In use"

    def __init__(self, kind: str, identifier: str, jobs: Sequence[str], *, are_more: bool) -> None:
        self.kind, self.identifier, self.jobs = kind, identifier, jobs
        named = ", ".join(jobs) + (" and others" if are_more else "")
        super().__init__(
            f"The {kind} {identifier} is needed by {named}; cancel them, or wait until they have ended."
        )


class StorageUnavailable(ServiceError):
    """The object store does not answer or refuses; `reason` is for the log, it may hold addresses."""

    code = "storage_unavailable"
    status = 503
    title = "Storage unavailable"
    retry_after_seconds = 5

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__("The object storage does not answer or refuses; the service's log says why.")


class ObjectMissing(ServiceError):
    """A stored object is gone."""

    code = "object_missing"
    status = 500
    title = "Stored object missing"

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"The stored object {key} is missing.")


class LeaseLost(ServiceError):
    """The row belongs to a later attempt, or to none: whoever gets this stops and writes nothing more."""

    code = "lease_lost"
    status = 409
    title = "Lease lost"

    def __init__(self, kind: str, identifier: str, attempt: int) -> None:
        self.kind, self.identifier, self.attempt = kind, identifier, attempt
        super().__init__(f"Attempt {attempt} no longer holds the {kind} {identifier}.")
