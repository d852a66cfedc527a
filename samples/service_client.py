"""A small client of the service's HTTP interface: upload a folder, start a job, follow it, fetch its files."""

import hashlib
import io
import re
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2

PART_BYTES = 4 * 1024 * 1024
_POLL_SECONDS = 0.3
_RECONNECT_SECONDS = 1.0
_RECONNECTS = 10
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})

Json = dict[str, Any]


class ServiceError(Exception):
    """The service refused a request, or a dataset or a job failed; the message is the service's own."""


class ServiceClient:
    """Talks to one service.

    Args:
        url: where it answers, ``http://127.0.0.1:8000``.
    """

    def __init__(self, url: str) -> None:
        # Never through a proxy of the environment: the demo's service is on this machine.
        self._http = httpx2.Client(base_url=url, timeout=60, trust_env=False)

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the service and everything it needs is up."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def upload_folder(self, folder: Path, name: str, subfolders: Sequence[str] = (".",)) -> str:
        """Upload the files below a folder as a new dataset and return its id; reading it in goes on afterwards.

        Small files travel together in tar archives of a few MB, so that many images are few requests.
        """
        dataset_id = str(self._call("POST", "/datasets", json={"name": name})["id"])
        parts = []
        for number, part in enumerate(pack_folder(folder, subfolders), start=1):
            headers = {"Content-Type": "application/x-tar"}
            path = f"/datasets/{dataset_id}/parts/{number}"
            self._call("PUT", path, params={"filename": f"{number}.tar"}, content=part, headers=headers)
            parts.append({"number": number, "sha256": hashlib.sha256(part).hexdigest()})
        self._call("POST", f"/datasets/{dataset_id}/complete", json={"parts": parts})
        return dataset_id

    def wait_for_dataset(self, dataset_id: str) -> Json:
        """Wait until a dataset has been read in.

        Raises:
            ServiceError: when it could not be.
        """
        while True:
            dataset = self._call("GET", f"/datasets/{dataset_id}")
            if dataset["state"] == "ready":
                return dataset
            if dataset["state"] == "failed":
                raise ServiceError(dataset["error"]["message"])
            time.sleep(_POLL_SECONDS)

    def create_job(self, **request: Any) -> Json:
        """Start a job; the arguments are the fields of ``POST /jobs``."""
        return self._call("POST", "/jobs", json=request)

    def get_job(self, job_id: str) -> Json:
        """The job as it is now."""
        return self._call("GET", f"/jobs/{job_id}")

    def follow(self, job_id: str) -> Iterator[Json]:
        """Yield a job's events as they happen, until it has ended; a broken connection is taken up again.

        Raises:
            httpx2.TransportError: when the service stays away.
        """
        last, failures = 0, 0
        while True:
            try:
                for event in self._stream(job_id, last):
                    last, failures = event["seq"], 0
                    yield event
                if self.get_job(job_id)["state"] in TERMINAL:
                    return
            except httpx2.TransportError:
                failures += 1
                if failures > _RECONNECTS:
                    raise
            time.sleep(_RECONNECT_SECONDS)

    def download(self, job_id: str, name: str, target: Path) -> None:
        """Fetch one of a job's files and check it against the service's digest.

        Raises:
            ServiceError: when there is no such file, or it arrived damaged.
        """
        artifacts = self._call("GET", f"/jobs/{job_id}/artifacts")["data"]
        expected = next((artifact["sha256"] for artifact in artifacts if artifact["name"] == name), None)
        if expected is None:
            raise ServiceError(f"job {job_id} has no file {name}")
        digest = hashlib.sha256()
        with (
            self._http.stream("GET", f"/jobs/{job_id}/artifacts/{name}") as response,
            target.open("wb") as file,
        ):
            _raise_for_problem(response)
            for chunk in response.iter_bytes():
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != expected:
            target.unlink()
            raise ServiceError(f"{name} arrived damaged; try again")

    def _stream(self, job_id: str, after: int) -> Iterator[Json]:
        headers = {"Accept": "text/event-stream"}
        url = f"/jobs/{job_id}/events"
        with self._http.stream("GET", url, params={"after": after}, headers=headers) as response:
            _raise_for_problem(response)
            if response.status_code == 204:  # nothing will follow
                return
            for event in httpx2.EventSource(response):
                if event.data:
                    yield _as_object(event.json())

    def _call(self, method: str, path: str, **arguments: Any) -> Json:
        response = self._http.request(method, path, **arguments)
        _raise_for_problem(response)
        return _as_object(response.json())


def pack_folder(
    folder: Path, subfolders: Sequence[str] = (".",), part_bytes: int = PART_BYTES
) -> Iterator[bytes]:
    """Yield tar archives of about `part_bytes` with the files below the subfolders, named from `folder` on."""
    batch: list[Path] = []
    size_bytes = 0
    for path in _files(folder, subfolders):
        batch.append(path)
        size_bytes += path.stat().st_size
        if size_bytes >= part_bytes:
            yield _pack(folder, batch)
            batch, size_bytes = [], 0
    if batch:
        yield _pack(folder, batch)


def _pack(folder: Path, files: Sequence[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            archive.add(path, arcname=path.relative_to(folder).as_posix())
    return buffer.getvalue()


def _files(folder: Path, subfolders: Sequence[str]) -> list[Path]:
    found = {path for name in subfolders for path in (folder / name).rglob("*") if path.is_file()}
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that counts: image-2 before image-10."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", str(path))]


def _as_object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ServiceError(f"the service answered {value!r}, which is no JSON object")
    return value


def _raise_for_problem(response: httpx2.Response) -> None:
    """Turn a problem document into its sentences."""
    if response.is_success:
        return
    response.read()
    try:
        problem = _as_object(response.json())
    except ValueError:
        raise ServiceError(f"{response.status_code} {response.reason_phrase}") from None
    fields = [f"{error['field']}: {error['message']}" for error in problem.get("errors", [])]
    raise ServiceError("; ".join(fields) or problem.get("detail") or problem.get("title") or "unknown error")
