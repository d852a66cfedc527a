"""The client: what a program does with a service."""

import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from wecolora_client.downloads import download_file
from wecolora_client.errors import ClientError, DatasetFailed, JobFailed, ServiceError, Unreachable
from wecolora_client.models import Artifact, Dataset, DryRun, Event, Job, Part
from wecolora_client.packing import PART_BYTES, plan_parts
from wecolora_client.transport import Transport
from wecolora_client.uploads import Upload, UploadProgress

_POLL_SECONDS = 0.5
_RECONNECT_SECONDS = 1.0


class Client:
    """Talks to one service; may be shared by threads.

    Args:
        url: where it answers.
        key: of the API, where the service asks for one.
        patience_seconds: how long the service may be away, restarted say, before a call gives up.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", key: str | None = None, *, patience_seconds: float = 60.0
    ) -> None:
        self._transport = Transport(url, key, patience_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections."""
        self._transport.close()

    def is_ready(self) -> bool:
        """Whether the service and everything that it needs is up, asked once."""
        try:
            with self._transport.stream("GET", "/readyz"):
                return True
        except (ServiceError, httpx2.TransportError):
            return False

    def upload(
        self,
        path: Path | str,
        name: str | None = None,
        *,
        subfolders: Sequence[str] = (".",),
        into: str | None = None,
        parallel: int = 4,
        part_bytes: int = PART_BYTES,
        on_progress: Callable[[UploadProgress], None] = lambda progress: None,
        on_created: Callable[[str], None] = lambda dataset_id: None,
    ) -> str:
        """Upload images; reading them in goes on at the service afterwards.

        Args:
            path: a folder, an archive or an image. Class folders (and ``train/`` and ``test/`` above them) are kept.
            name: of the dataset; the path's own unless given.
            subfolders: of the folder, where not all of it is wanted.
            into: id of a dataset whose upload was broken off, to go on with.
            parallel: parts at a time.
            part_bytes: about the size of a part.
            on_progress: told how far it is.
            on_created: told the id before the first part is sent: what `into` needs if it comes to that.

        Returns:
            The dataset's id.

        Raises:
            NothingToUpload: there are no files.
            ServiceError, Unreachable: see `Transport.call`; what has arrived stays, for `into`.
        """
        path = Path(path)
        plans = plan_parts(path, subfolders, part_bytes)
        dataset_id = into or self._create_dataset(name or path.resolve().name)
        on_created(dataset_id)
        arrived = {part.number: part for part in self._parts(dataset_id)} if into else {}
        parts = Upload(self._transport, dataset_id, plans, on_progress).send(arrived, parallel)
        self._transport.call("POST", f"/datasets/{dataset_id}/complete", json={"parts": parts})
        return dataset_id

    def get_dataset(self, dataset_id: str) -> Dataset:
        """The dataset as it is now."""
        return Dataset.model_validate_json(self._transport.call("GET", f"/datasets/{dataset_id}").content)

    def wait_for_dataset(self, dataset_id: str) -> Dataset:
        """Wait until a dataset has been read in.

        Raises:
            DatasetFailed: it could not be.
        """
        while True:
            dataset = self.get_dataset(dataset_id)
            if dataset.state == "ready":
                return dataset
            if dataset.state == "failed":
                raise DatasetFailed(dataset)
            time.sleep(_POLL_SECONDS)

    def create_job(self, **request: Any) -> Job:
        """Start a job; the arguments are the fields of ``POST /jobs``.

        Raises:
            ServiceError: a field is wrong; `problem.errors` names it and what is allowed.
        """
        return Job.model_validate_json(self._transport.call("POST", "/jobs", json=request).content)

    def dry_run(self, **request: Any) -> DryRun:
        """What a job would come to; nothing is stored, and its images may be still to come (no ``dataset_id``).

        Raises:
            ServiceError: a field is wrong, as `create_job` would say.
        """
        answer = self._transport.call("POST", "/jobs", params={"dry_run": "true"}, json=request)
        return DryRun.model_validate_json(answer.content)

    def get_job(self, job_id: str) -> Job:
        """The job as it is now."""
        return Job.model_validate_json(self._transport.call("GET", f"/jobs/{job_id}").content)

    def cancel(self, job_id: str) -> Job:
        """Ask for a job's end; it may be asked for again."""
        return Job.model_validate_json(self._transport.call("POST", f"/jobs/{job_id}/cancel").content)

    def retry(self, job_id: str) -> Job:
        """Let a job that failed or was cancelled go on, from its last checkpoint where one is left.

        Raises:
            ServiceError: it has neither failed nor been cancelled (``wrong_state``).
        """
        return Job.model_validate_json(self._transport.call("POST", f"/jobs/{job_id}/retry").content)

    def delete_job(self, job_id: str) -> None:
        """Delete a job that has ended, with its files."""
        self._transport.call("DELETE", f"/jobs/{job_id}")

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset that no job needs any more."""
        self._transport.call("DELETE", f"/datasets/{dataset_id}")

    def follow(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """Yield a job's events as they happen, each once, until it has ended; a lost connection is taken up again.

        Args:
            job_id: of the job.
            after: the last `seq` that is known already.

        Raises:
            Unreachable: the service stays away.
        """
        heard = time.monotonic()
        while True:
            try:
                for event in self._stream(job_id, after):
                    after, heard = event.seq, time.monotonic()
                    yield event
                if self.get_job(job_id).has_ended:
                    return
            except (httpx2.TransportError, ServiceError) as error:
                if isinstance(error, ServiceError) and error.problem.status < 500:
                    raise
                if time.monotonic() - heard > self._transport.patience_seconds:
                    raise Unreachable(self._transport.url, str(error)) from error
            time.sleep(_RECONNECT_SECONDS)

    def wait_for_job(self, job_id: str, on_event: Callable[[Event], None] = lambda event: None) -> Job:
        """Wait until a job has succeeded.

        Raises:
            JobFailed: it failed or was cancelled.
        """
        for event in self.follow(job_id):
            on_event(event)
        job = self.get_job(job_id)
        if job.state != "succeeded":
            raise JobFailed(job)
        return job

    def list_artifacts(self, job_id: str) -> list[Artifact]:
        """Files of a job; none before it has succeeded."""
        answer = self._transport.call("GET", f"/jobs/{job_id}/artifacts").json()
        return [Artifact.model_validate(each) for each in answer["data"]]

    def download(self, job_id: str, name: str, target: Path | str) -> Path:
        """Fetch one of a job's files; a broken download goes on where it was, and the digest is checked.

        Raises:
            ClientError: there is no such file.
            DamagedDownload: it is not what the service stored.
        """
        artifacts = {each.name: each for each in self.list_artifacts(job_id)}
        if name not in artifacts:
            there = ", ".join(artifacts) or "none before it has succeeded"
            raise ClientError(f"job {job_id} has no file {name}; it has: {there}")
        return download_file(
            self._transport, f"/jobs/{job_id}/artifacts/{name}", artifacts[name], Path(target)
        )

    def download_student(self, job_id: str, folder: Path | str) -> Path:
        """Fetch and unpack a student: ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

        Args:
            job_id: of a job that succeeded.
            folder: that does not exist yet, or is empty.

        Raises:
            ClientError: the folder holds something.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ClientError(f"{folder} exists and is not empty; name another folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".student-") as scratch:
            archive = self.download(job_id, "student.zip", Path(scratch) / "student.zip")
            with zipfile.ZipFile(archive) as members:
                members.extractall(scratch)
            if folder.exists():
                folder.rmdir()
            shutil.move(Path(scratch) / "student", folder)  # the archive's own top folder
        return folder

    def _create_dataset(self, name: str) -> str:
        return str(self._transport.call("POST", "/datasets", json={"name": name}).json()["id"])

    def _parts(self, dataset_id: str) -> list[Part]:
        answer = self._transport.call("GET", f"/datasets/{dataset_id}/parts").json()
        return [Part.model_validate(each) for each in answer["data"]]

    def _stream(self, job_id: str, after: int) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"}
        with self._transport.stream(
            "GET", f"/jobs/{job_id}/events", params={"after": after}, headers=headers
        ) as response:
            if response.status_code == 204:  # nothing will follow
                return
            for event in httpx2.EventSource(response):
                if event.data:
                    yield Event.model_validate_json(event.data)
