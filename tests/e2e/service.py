"""A real service in a folder of its own, and what the tests say to it."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
TERMINAL = ("succeeded", "failed", "cancelled")
QUICK = {
    "WECOLORA_LEASE_SECONDS": "5",
    "WECOLORA_HEARTBEAT_SECONDS": "0.5",
    "WECOLORA_RESEND_AFTER_SECONDS": "1",
    "WECOLORA_DISPATCHER_INTERVAL_SECONDS": "0.3",
    "WECOLORA_CHECKPOINT_SECONDS": "0.3",
    "WECOLORA_SWEEP_INTERVAL_SECONDS": "1",
    "WECOLORA_SPARE_TRAINER": "false",  # a trainer that is found belongs to a job
    "WECOLORA_CANCEL_GRACE_SECONDS": "10",
    "OMP_NUM_THREADS": "1",
}


def wait_for(question: Callable[[], Any], seconds: float = 120.0, pause: float = 0.05) -> Any:
    """Ask until the answer is truthy."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s")


class Client:
    """What tests say to a service.

    Attributes:
        http: set by who knows its address.
    """

    http: httpx2.Client

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, status: int = 201, **request: Any) -> Any:
        answer = self.http.post(path, **request)
        assert answer.status_code == status, answer.text
        return answer.json()

    def upload(self, name: str, *parts: tuple[str, bytes]) -> str:
        """Upload a dataset part by part and wait until it is ready."""
        dataset = self.post("/datasets", json={"name": name})["id"]
        for number, (filename, data) in enumerate(parts, 1):
            answer = self.http.put(
                f"/datasets/{dataset}/parts/{number}", params={"filename": filename}, content=data
            )
            assert answer.status_code in (200, 201), answer.text
        self.post(f"/datasets/{dataset}/complete", status=202)
        wait_for(lambda: self.get(f"/datasets/{dataset}")["state"] in ("ready", "failed"))
        return dataset

    def job(self, job_id: str) -> Any:
        return self.get(f"/jobs/{job_id}")

    def wait_for_end(self, job_id: str, seconds: float = 240) -> Any:
        wait_for(lambda: self.job(job_id)["state"] in TERMINAL, seconds, 0.2)
        return self.job(job_id)

    def wait_for_step(self, job_id: str, step: int) -> Any:
        def reached() -> bool:
            job = self.job(job_id)
            assert job["state"] not in TERMINAL, job
            return job["phase"] == "distilling" and (job["progress"] or {}).get("step", 0) >= step

        wait_for(reached, 240)
        return self.job(job_id)

    def events(self, job_id: str) -> list[Any]:
        found, after = [], 0
        while True:
            page = self.get(f"/jobs/{job_id}/events", after=after, limit=200)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = found[-1]["seq"]

    def download(self, job_id: str, name: str) -> bytes:
        answer = self.http.get(f"/jobs/{job_id}/artifacts/{name}")
        assert answer.status_code == 200, answer.text
        return answer.content


class Service(Client):
    """`python -m core.serve` on a free port."""

    def __init__(self, data_dir: Path, arguments: Sequence[str] = (), **environment: str) -> None:
        self.data_dir = data_dir
        self.lines: queue.Queue[str] = queue.Queue()
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "core.serve", "--port", "0", "--data-dir", str(data_dir), *arguments],
            cwd=ROOT,
            env={**os.environ, **QUICK, **environment},  # noqa: TID251 - a child of a test, not a setting
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.url = self._wait_for_url()
        except BaseException:
            self._end()
            raise
        self.http = httpx2.Client(base_url=self.url, timeout=30)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.log.append(line)
            self.lines.put(line)

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                line = self.lines.get(timeout=1)
            except queue.Empty:
                assert self.process.poll() is None, "".join(self.log)
                continue
            if found := re.search(r"ready at (\S+)", line):
                return found[1]
        raise AssertionError("".join(self.log))

    def stop(self) -> None:
        self.http.close()
        self._end()

    def _end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.process.stdout.close()

    def processes(self) -> dict[int, str]:
        """Every process of this service, by the setting that all of them carry, with its command line."""
        return dict(processes_of(self.data_dir))

    def pid_of(self, words: str) -> int | None:
        return next((pid for pid, command in self.processes().items() if words in command), None)


def processes_of(data_dir: Path) -> Iterator[tuple[int, str]]:
    mark = f"WECOLORA_DATA_DIR={data_dir}\0".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if mark in (folder / "environ").read_bytes():
                    yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
