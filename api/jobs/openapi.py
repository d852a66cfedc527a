"""The two bodies of `POST /jobs` in the OpenAPI document: FastAPI can declare only one by itself."""

from typing import Any

from pydantic import BaseModel

from api.jobs.schemas import JobCreate, JobRequest

_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema with its few references written out."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return inline(definitions[node["$ref"].rpartition("/")[2]])
            return {key: inline(value) for key, value in node.items()}
        return [inline(item) for item in node] if isinstance(node, list) else node

    inlined: dict[str, Any] = inline(schema)
    return inlined


def job_bodies() -> dict[str, Any]:
    """`openapi_extra` of the endpoint."""
    form = _schema(JobRequest)
    images = {**_FILES, "description": "An archive (zip, tar, tar.gz) or images; repeatable."}
    probe = {**_FILES, "description": "Labelled images in class folders, for the linear probe."}
    layers = {"type": "string", "description": "Blocks to keep, counted from 0.", "examples": ["1,3,5"]}
    form["properties"]["layers"] = layers
    form["properties"] = {"images": images, **form["properties"], "probe": probe}
    form["required"] = ["images", *form["required"]]
    form["title"] = "JobForm"
    content = {
        "application/json": {"schema": _schema(JobCreate)},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}
