"""The endpoint that Prometheus scrapes."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.access import Administrator
from api.metrics.service import render
from api.resources import ResourcesDep

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, resources: ResourcesDep, administrator: Administrator) -> Response:
    """Queue, leases, phases and speed of all owners out of the database; requests of this process."""
    return Response(render(resources, request.app.state.request_metrics), media_type=CONTENT_TYPE_LATEST)
