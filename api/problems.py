"""The one place where errors become HTTP: RFC 9457 problem details."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.requests import HEADER, SCOPE_KEY
from api.validation import field_problems
from core.errors import (
    FieldProblem,
    InsufficientScope,
    InvalidFields,
    InvalidKey,
    ServiceError,
    Unauthenticated,
)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 2
CHALLENGE: Final = 'Bearer realm="wecolora"'
STATUS_CODES: Final = {
    400: ("bad_request", "Bad request"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("payload_too_large", "Payload too large"),
    415: ("unsupported_media_type", "Unsupported media type"),
}
"""Codes of errors that the framework raises; its own words change with its version."""

log = logging.getLogger(__name__)


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str
    allowed: str | None = None
    input: Any = None


class Problem(BaseModel):
    """An error, as RFC 9457 has it, with a stable `code` and the fields at fault."""

    type: str = Field(examples=["urn:wecolora:error:invalid_request"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["invalid_request"])
    errors: list[FieldError] = []
    instance: str


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "What went wrong and what to do about it.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""Replaces FastAPI's own 422 in the OpenAPI document."""


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OperationalError, _on_database_error)
    app.add_exception_handler(InterfaceError, _on_database_error)
    app.add_exception_handler(DataError, _on_data_error)
    app.add_exception_handler(PoolTimeout, _on_database_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected)


def problem_response(
    path: str,
    status: int,
    code: str,
    title: str,
    detail: str,
    problems: Sequence[FieldProblem] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An error answer."""
    body = Problem(
        type=f"urn:wecolora:error:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        errors=[FieldError(**vars(problem)) for problem in problems],
        instance=path,
    )
    return JSONResponse(body.model_dump(mode="json"), status, headers, media_type=MEDIA_TYPE)


def _on_service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s %s: %s", request.method, request.url.path, error)
    headers = _challenge(error)
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return problem_response(
        request.url.path, error.status, error.code, error.title, str(error), error.problems, headers
    )


def _challenge(error: ServiceError) -> dict[str, str]:
    """How to authenticate (RFC 6750): nothing is said about a key that was not shown."""
    if isinstance(error, InvalidKey):
        return {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": CHALLENGE}
    if isinstance(error, InsufficientScope):
        return {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{error.needed}"'}
    return {}


def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = field_problems(error.errors())
    return _on_service_error(request, InvalidFields(*problems))


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code, title = STATUS_CODES.get(error.status_code, ("http_error", HTTPStatus(error.status_code).phrase))
    headers = dict(error.headers) if error.headers else None
    return problem_response(
        request.url.path, error.status_code, code, title, str(error.detail), headers=headers
    )


def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    cause = error.orig if isinstance(error, DBAPIError) else error
    log.error("%s %s: database: %s", request.method, request.url.path, cause)
    return problem_response(
        request.url.path,
        503,
        "database_unavailable",
        "Database unavailable",
        "The database does not answer or is not migrated; GET /readyz says more.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _on_data_error(request: Request, error: Exception) -> JSONResponse:
    # Postgres takes no NUL character, in a path as little as in a name.
    problem = FieldProblem("body", "a value holds characters that cannot be stored")
    return _on_service_error(request, InvalidFields(problem))


def _on_disconnect(request: Request, error: Exception) -> JSONResponse:
    # Nobody reads this answer; the log of requests shows it.
    return problem_response(
        request.url.path, 400, "client_disconnected", "Disconnected", "The upload broke off."
    )


def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    # Starlette raises it again after this answer, and the server logs it with its traceback.
    detail = "An unexpected error; the service's log has the details."
    # This answer is given outside of every other layer, so it brings the header itself.
    request_id = request.scope.get(SCOPE_KEY)
    headers = {HEADER: request_id} if request_id else None
    return problem_response(
        request.url.path, 500, "internal_error", "Internal error", detail, headers=headers
    )
