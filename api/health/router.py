"""Endpoints for probes."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.health.service import run_checks
from api.resources import ResourcesDep

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Check(BaseModel):
    """One dependency."""

    ok: bool
    reason: str | None = None


class Readiness(BaseModel):
    """Whether requests can be served, and what stands in the way."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, Check]


@router.get("/healthz")
async def healthz() -> Health:
    """Alive: asks nothing of any dependency."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness}})
def readyz(response: Response, resources: ResourcesDep) -> Readiness:
    """Ready: database, migrations, storage and broker, each by name."""
    reasons = run_checks(resources)
    is_ready = not any(reasons.values())
    if not is_ready:
        response.status_code = 503
    checks = {name: Check(ok=reason is None, reason=reason) for name, reason in reasons.items()}
    return Readiness(status="ok" if is_ready else "unavailable", checks=checks)
