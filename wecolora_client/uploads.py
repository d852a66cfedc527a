"""Parts of an upload, sent in parallel; what has arrived is not sent again."""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from urllib.parse import quote

from wecolora_client.errors import ServiceError
from wecolora_client.models import Part, UploadTarget
from wecolora_client.packing import Content, PartPlan
from wecolora_client.transport import Transport

_CHUNK_BYTES = 256 * 1024
_UNKNOWN_PATH = frozenset({404, 405})
"""What a service says that knows nothing of direct uploads."""


@dataclass(frozen=True)
class UploadProgress:
    """How far an upload is.

    Attributes:
        parts_done: that the service has.
        parts: in all.
        bytes_done: of the files, those of unfinished parts included.
        size_bytes: of the files in all.
    """

    parts_done: int
    parts: int
    bytes_done: int
    size_bytes: int


class Upload:
    """The parts of one dataset.

    Args:
        transport: to the service.
        dataset_id: that is being uploaded.
        plans: all parts.
        on_progress: called now and then, one call at a time.
    """

    def __init__(
        self,
        transport: Transport,
        dataset_id: str,
        plans: Sequence[PartPlan],
        on_progress: Callable[[UploadProgress], None],
    ) -> None:
        self._transport = transport
        self._dataset_id = dataset_id
        self._plans = plans
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._sent = dict.fromkeys((plan.number for plan in plans), 0)
        self._progress = UploadProgress(0, len(plans), 0, sum(plan.size_bytes for plan in plans))
        self._stopped = threading.Event()
        self._may_be_direct = True

    def send(self, arrived: Mapping[int, Part], parallel: int) -> list[dict[str, object]]:
        """Send what the service lacks.

        Args:
            arrived: parts that it has, by number; those that are other files by now are sent again.
            parallel: parts at a time.

        Returns:
            ``{"number", "sha256"}`` of every part, for the completion.

        Raises:
            ServiceError, Unreachable: of the first part that could not be sent; the others are not begun.
        """
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="upload")
        try:
            sending = [pool.submit(self._send_part, plan, arrived.get(plan.number)) for plan in self._plans]
            wait(sending, return_when=FIRST_EXCEPTION)
            for each in sending:
                if each.done() and (error := each.exception()) is not None:
                    raise error
            digests = [each.result() for each in sending]
        finally:
            self._stopped.set()
            pool.shutdown(cancel_futures=True)
        return [
            {"number": plan.number, "sha256": digest}
            for plan, digest in zip(self._plans, digests, strict=True)
        ]

    def _send_part(self, plan: PartPlan, arrived: Part | None) -> str:
        with plan.open() as content:
            digest = hashlib.file_digest(content, "sha256")
            size_bytes = content.tell()
            if arrived is None or arrived.sha256 != digest.hexdigest():
                self._transport.retry(lambda: self._put(plan, content, size_bytes, digest.digest()))
        self._report(plan, plan.size_bytes, is_done=True)
        return digest.hexdigest()

    def _put(self, plan: PartPlan, content: Content, size_bytes: int, digest: bytes) -> None:
        self._check_stopped()
        target = self._target(plan, size_bytes, digest)
        content.seek(0)
        headers = {**target.headers, "Content-Length": str(size_bytes)}
        body = self._read(plan, content)
        with self._transport.stream(
            target.method, target.url, to_store=target.direct, headers=headers, content=body
        ) as response:
            response.read()
        if target.confirm is not None:
            self._transport.once("POST", target.confirm, json={"sha256": digest.hex()})

    def _target(self, plan: PartPlan, size_bytes: int, digest: bytes) -> UploadTarget:
        """Where the part goes: asked anew for every try, until the service says that all parts go to itself."""
        path = f"/datasets/{self._dataset_id}/parts/{plan.number}"
        if self._may_be_direct:
            announced = {"filename": plan.filename, "size_bytes": size_bytes, "sha256": digest.hex()}
            try:
                answer = self._transport.once("POST", f"{path}/upload-url", json=announced)
            except ServiceError as error:
                if error.problem.status not in _UNKNOWN_PATH:
                    raise
                self._may_be_direct = False
            else:
                target = UploadTarget.model_validate_json(answer.content)
                self._may_be_direct = target.direct
                return target
        url = f"{path}?filename={quote(plan.filename, safe='')}"
        headers = {"Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:"}
        return UploadTarget(direct=False, method="PUT", url=url, headers=headers)

    def _read(self, plan: PartPlan, content: Content) -> Iterator[bytes]:
        while chunk := content.read(_CHUNK_BYTES):
            self._check_stopped()
            yield chunk
            self._report(plan, min(content.tell(), plan.size_bytes))

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise InterruptedError("another part could not be sent")

    def _report(self, plan: PartPlan, sent_bytes: int, *, is_done: bool = False) -> None:
        with self._lock:
            before, self._sent[plan.number] = self._sent[plan.number], sent_bytes
            self._progress = replace(
                self._progress,
                parts_done=self._progress.parts_done + is_done,
                bytes_done=self._progress.bytes_done + sent_bytes - before,
            )
            self._on_progress(self._progress)
