"""Validation errors of pydantic as problems of fields, the same for JSON bodies, queries and forms."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from core.errors import FieldProblem, InvalidFields
from core.options import JobOptions, allowed_values

Model = TypeVar("Model", bound=BaseModel)
_BODY_PARTS = ("body", "query", "path", "header")
_LONGEST_INPUT = 200


def parse_fields(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Build a model from a request's fields.

    Raises:
        InvalidFields: names every field at fault and what it may be.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidFields(*field_problems(error.errors(include_url=False), model)) from error


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The fields of a JSON body.

    Raises:
        InvalidFields: when it is no JSON object.
    """
    try:
        value = from_json(body)
    except ValueError as error:
        raise InvalidFields(FieldProblem("body", str(error), "a JSON object")) from error
    if not isinstance(value, dict):
        raise InvalidFields(FieldProblem("body", "this is not a JSON object", "a JSON object"))
    return value


def field_problems(
    errors: Iterable[ErrorDetails | dict[str, Any]], model: type[BaseModel] = JobOptions
) -> list[FieldProblem]:
    """One problem an error; the allowed range is read from the model's declaration."""
    return [_problem(dict(error), model) for error in errors]


def _problem(error: dict[str, Any], model: type[BaseModel]) -> FieldProblem:
    path = [str(part) for part in error["loc"]]
    if path and path[0] in _BODY_PARTS:
        path = path[1:]
    field = ".".join(path) or "body"
    declared = model.model_fields.get(path[0]) if path else None
    allowed = allowed_values(declared) if declared is not None else _allowed_by_error(error)
    if error["type"] == "extra_forbidden":
        allowed = ", ".join(model.model_fields)
    return FieldProblem(field, error["msg"], allowed, _shown(error.get("input")))


def _allowed_by_error(error: Mapping[str, Any]) -> str | None:
    context = error.get("ctx") or {}
    if "expected" in context:
        return str(context["expected"])
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return next((f"{words[name]} {value}" for name, value in context.items() if name in words), None)


def _shown(value: Any) -> Any:
    """What was sent, if it is short and plain: an answer must not repeat a megabyte."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # Python refuses to write integers of thousands of digits.
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_INPUT else f"{value[:_LONGEST_INPUT]}…"
    return None
