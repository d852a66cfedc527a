"""The secrets that a deployment is made with."""

import json
import stat
import subprocess
from pathlib import Path

from core.production import check_settings
from core.settings import Settings
from tests.deploy.compose import ROOT, read_compose
from tools.make_secrets import make_secrets


def test_the_secrets_let_the_production_profile_start(monkeypatch, tmp_path: Path) -> None:
    make_secrets(tmp_path)
    for name, value in read_compose()["services"]["api"]["environment"].items():
        monkeypatch.setenv(name, str(value).replace("/run/secrets", str(tmp_path)))
    settings = Settings()
    assert settings.profile == "production"
    assert [*check_settings(settings)] == []


def test_two_deployments_share_no_secret(tmp_path: Path) -> None:
    for name in ("one", "other"):
        make_secrets(tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_text() != (tmp_path / "other" / file.name).read_text()


def test_what_exists_is_kept_and_what_is_missing_is_made(tmp_path: Path) -> None:
    first = make_secrets(tmp_path)
    password = (tmp_path / "postgres_password").read_text()
    (tmp_path / "database_url").unlink()
    assert make_secrets(tmp_path) == ["database_url"]
    assert f"wecolora:{password}@postgres:5432" in (tmp_path / "database_url").read_text()
    assert "postgres_password" in first


def test_the_folder_is_its_owner_s_and_the_containers_can_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o444}
    identities = json.loads((folder / "s3_identities.json").read_text())["identities"]
    assert [identity["name"] for identity in identities] == ["wecolora"], "nobody comes in without a key"


def test_the_command_needs_no_installation(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "run"), "secrets", str(tmp_path)],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "database_url" in done.stdout
