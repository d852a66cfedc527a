"""Settings and their page."""

import math
import subprocess
import sys

import pytest

from core.catalogue import load_catalogue
from core.settings import Settings, read_settings, to_environment
from tools.make_settings_table import DOCUMENT, with_table
from wecolora.images import SMALLEST_CROP


def test_the_table_of_settings_is_current():
    document = DOCUMENT.read_text()
    assert document == with_table(document), "run `python -m tools.make_settings_table`"


def test_every_setting_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())


def test_images_are_stored_large_enough_for_nearly_all_teachers():
    needed = [
        math.ceil(teacher.image_size / math.sqrt(SMALLEST_CROP)) for teacher in load_catalogue().teachers
    ]
    enough = sum(side <= Settings.model_fields["max_stored_side"].default for side in needed)
    assert enough > 0.99 * len(needed)


def test_variables_are_read_and_empty_ones_are_not(monkeypatch):
    monkeypatch.setenv("WECOLORA_ALLOWED_HOSTS", "gpu-server, api.example.org")
    monkeypatch.setenv("WECOLORA_LEASE_SECONDS", "25")
    monkeypatch.setenv("WECOLORA_DATABASE_URL", "")
    settings = Settings()
    assert settings.allowed_hosts == ("gpu-server", "api.example.org")
    assert settings.lease_seconds == 25
    assert settings.database_url is None


def test_secrets_are_not_shown():
    settings = Settings(s3_access_key_id="key", s3_secret_access_key="do-not-show")
    assert "do-not-show" not in repr(settings)


def test_a_setting_is_read_from_the_file_that_a_variable_names(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("from-a-file\n")
    monkeypatch.setenv("WECOLORA_S3_ACCESS_KEY_ID", "not-secret")
    monkeypatch.setenv("WECOLORA_S3_SECRET_ACCESS_KEY_FILE", str(tmp_path / "key"))
    settings = Settings()
    assert settings.s3_secret_access_key.get_secret_value() == "from-a-file"


def test_a_child_reads_the_file_for_itself_and_its_environment_has_no_secret(monkeypatch, tmp_path):
    (tmp_path / "url").write_text("redis://:in-the-file@host/0")
    monkeypatch.setenv("WECOLORA_BROKER_URL_FILE", str(tmp_path / "url"))
    environment = to_environment(Settings(data_dir=tmp_path))
    assert not any("in-the-file" in value for value in environment.values())
    code = "from core.settings import get_settings; print(get_settings().broker_url)"
    child = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "redis://:in-the-file@host/0"
    changed = to_environment(Settings(data_dir=tmp_path, broker_url="redis://another/0"))
    assert changed["WECOLORA_BROKER_URL"] == "redis://another/0"
    assert "WECOLORA_BROKER_URL_FILE" not in changed


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WECOLORA_LEASE_SECONDS": "soon"}, "WECOLORA_LEASE_SECONDS: Input should be a valid number"),
        ({"WECOLORA_PROFILE": "prod"}, "WECOLORA_PROFILE: Input should be 'embedded' or 'production'"),
        ({"WECOLORA_HEARTBEAT_SECONDS": "40"}, "WECOLORA_HEARTBEAT_SECONDS (40) must be less than"),
        ({"WECOLORA_S3_ACCESS_KEY_ID": "alone"}, "go together: set both or neither"),
        (
            {"WECOLORA_BROKER_URL_FILE": "/nowhere"},
            "WECOLORA_BROKER_URL_FILE names /nowhere, which cannot be read",
        ),
        ({"WECOLORA_BROKER_URL_FILE": "/dev/null"}, "which is empty"),
        ({"WECOLORA_BROKER_URL_FILE": "/x", "WECOLORA_BROKER_URL": "redis://x"}, "are both set; keep one"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_variable(monkeypatch, environment, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="The settings are wrong: ") as ended:
        read_settings()
    assert said in str(ended.value)


def test_a_process_with_a_wrong_setting_says_so_in_a_sentence_without_a_traceback(monkeypatch, tmp_path):
    monkeypatch.setenv("WECOLORA_MAX_ATTEMPTS", "0")
    monkeypatch.setenv("WECOLORA_DATA_DIR", str(tmp_path))
    for command in (
        ["uvicorn", "api.main:app"],
        ["celery", "--app", "worker.app", "report"],
        ["worker.dispatcher"],
    ):
        ended = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=600)
        assert ended.returncode == 1
        assert "WECOLORA_MAX_ATTEMPTS: Input should be greater than or equal to 1" in ended.stderr
        assert "Traceback" not in ended.stderr
