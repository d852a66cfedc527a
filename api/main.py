"""The application: `uvicorn api.main:app`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.types import Scope

from api import idempotency, problems
from api.audit.router import router as audit
from api.dashboard.serving import BUILT, make_dashboard
from api.datasets.router import router as datasets
from api.guards import RequestGuard, SecurityHeaders
from api.health.router import router as health
from api.jobs.router import router as jobs
from api.keys.router import router as keys
from api.metrics.requests import RequestMetrics
from api.metrics.router import router as metrics
from api.owners.router import router as owners
from api.requests import RequestLog
from api.resources import Resources
from api.teachers.router import router as teachers
from api.webhooks.router import messages as webhook_messages
from api.webhooks.router import router as webhooks
from core.direct_uploads import DirectUploads
from core.exposure import AUTH_NOTES
from core.logs import configure_logging
from core.production import refuse_unless_ready
from core.settings import Settings, get_settings
from core.tracing import start_tracing

TITLE = "WeCoLoRA"
VERSION = "0.1.0"
DESCRIPTION = (
    "Distil a vision transformer on unlabelled images: upload, start a job, watch it, download the student."
)

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None, dashboard: Path = BUILT) -> FastAPI:
    """An application with its own resources, opened when it starts; `dashboard` is the folder of the built one."""
    chosen = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(chosen)
        refuse_unless_ready(chosen)
        log.info(AUTH_NOTES[chosen.auth])
        stop_tracing = start_tracing(chosen, "api")
        app.state.resources = Resources.open(chosen)
        try:
            yield
        finally:
            app.state.resources.close()
            stop_tracing()

    # The documentation page is served from a package: FastAPI's own loads its scripts from the internet.
    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=problems.RESPONSES,
        telemetry={"auto_configure": False, "exclude": _is_probe},
        # The function's name is the name of the generated client's method.
        generate_unique_id_function=lambda route: route.name,
    )
    problems.install(app)
    idempotency.install(app)
    app.add_middleware(RequestGuard, settings=chosen)
    app.add_middleware(SecurityHeaders)
    app.state.request_metrics = RequestMetrics()
    app.add_middleware(RequestLog, metrics=app.state.request_metrics)
    for router in (datasets, jobs, teachers, owners, keys, webhooks, audit, health, metrics):
        app.include_router(router)
    app.webhooks.include_router(webhook_messages)
    app.add_api_route("/", _to_dashboard, include_in_schema=False)
    app.mount("/dashboard", make_dashboard(dashboard, partial(_store_origin, app)))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _is_probe(scope: Scope) -> bool:
    """Nobody wants a trace of every look at the service's health."""
    return scope["path"] in ("/healthz", "/readyz", "/metrics")


def _store_origin(app: FastAPI) -> str | None:
    """Where the dashboard sends parts to besides the API."""
    direct: DirectUploads | None = app.state.resources.direct_uploads
    return direct.origin if direct else None


async def _to_dashboard() -> RedirectResponse:
    return RedirectResponse("/dashboard/", 307)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with problems in the place of FastAPI's own validation errors."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            webhooks=app.webhooks.routes,
        )
        schemas = document["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["Problem"] = problem
        for path in (*document["paths"].values(), *document["webhooks"].values()):
            for operation in path.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema


app = create_app()
