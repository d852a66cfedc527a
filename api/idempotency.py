"""The `Idempotency-Key` header: a request that is sent again takes effect once and gets the same answer.

The key, and the answer, are stored in the transaction of what the request makes, so that neither is without the other.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from api.access import Writer
from api.resources import ResourcesDep
from core.models import IdempotencyKey
from core.queries import idempotency as queries
from core.storage import CHUNK_BYTES

REPLAYED: Final = "Idempotency-Replayed"


class Replay(Exception):
    """The request was answered before; ends the transaction, which has nothing to store."""

    def __init__(self, answered: IdempotencyKey) -> None:
        self.status, self.body, self.location = answered.status, answered.body, answered.location
        super().__init__(answered.key)


@dataclass(frozen=True)
class Once:
    """What makes one request take effect once; without a key it does nothing.

    Attributes:
        owner: who asks: another owner's key is another key.
        key: that was sent.
        endpoint: method and path.
        hours: for which the answer is kept.
    """

    owner: str
    key: str | None
    endpoint: str
    hours: float

    def look(self, session: Session, request: object) -> None:
        """See whether the request was answered before, ahead of work that is long.

        Args:
            session: reads.
            request: what was asked, as JSON values.

        Raises:
            Replay: it was.
            IdempotencyKeyReused: the key came with another request.
        """
        if self.key is not None:
            self._replay(
                queries.find_answer(session, self.owner, self.key, self._digest(request), self.hours)
            )

    def begin(self, session: Session, request: object) -> None:
        """Take the key, first of all in the transaction that does what is asked.

        Raises:
            Replay: the request was answered before, or just now.
            IdempotencyKeyReused: the key came with another request.
        """
        if self.key is not None:
            self._replay(queries.claim_key(session, self.owner, self.key, self._digest(request), self.hours))

    def finish(self, session: Session, status: int, answer: BaseModel, location: str | None = None) -> None:
        """Keep the answer, in the same transaction."""
        if self.key is not None:
            body = answer.model_dump(mode="json")
            queries.store_answer(session, self.owner, self.key, status, body, location)

    def _replay(self, answered: IdempotencyKey | None) -> None:
        if answered is not None:
            raise Replay(answered)

    def _digest(self, request: object) -> str:
        text = json.dumps([self.endpoint, request], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def form_contents(form: FormData) -> Mapping[str, object]:
    """A form as JSON values; a file is its name and what it holds."""
    contents: dict[str, list[object]] = {}
    for name, value in form.multi_items():
        contents.setdefault(name, []).append(
            _file_contents(value) if isinstance(value, UploadFile) else value
        )
    return contents


def _file_contents(upload: UploadFile) -> list[str | None]:
    digest = hashlib.sha256()
    upload.file.seek(0)
    while chunk := upload.file.read(CHUNK_BYTES):
        digest.update(chunk)
    upload.file.seek(0)
    return [upload.filename, digest.hexdigest()]


def _once(
    request: Request,
    resources: ResourcesDep,
    principal: Writer,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="Made up by the client for one request; sent again with it, the request takes effect once.",
        ),
    ] = None,
) -> Once:
    endpoint = f"{request.method} {request.url.path}"
    return Once(principal.owner, idempotency_key, endpoint, resources.settings.idempotency_hours)


OnceDep = Annotated[Once, Depends(_once)]


def install(app: FastAPI) -> None:
    """Answer repeated requests."""
    app.add_exception_handler(Replay, _on_replay)


def _on_replay(request: Request, replay: Exception) -> JSONResponse:
    assert isinstance(replay, Replay)
    headers = {REPLAYED: "true"} | ({"Location": replay.location} if replay.location else {})
    return JSONResponse(replay.body, replay.status, headers)
