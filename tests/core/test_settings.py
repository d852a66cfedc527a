"""Settings and their page."""

import re
from pathlib import Path

from core.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_every_setting_is_documented_with_its_default():
    rows = dict(re.findall(r"^\| `(WECOLORA_\w+)` \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE))
    assert set(rows) == {f"WECOLORA_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        shown = rows[f"WECOLORA_{name.upper()}"].strip()
        expected = "unset" if field.default in (None, ()) else f"`{field.default}`"
        assert shown == expected, name


def test_variables_are_read_and_empty_ones_are_not(monkeypatch):
    monkeypatch.setenv("WECOLORA_ALLOWED_HOSTS", "gpu-server, api.example.org")
    monkeypatch.setenv("WECOLORA_LEASE_SECONDS", "5")
    monkeypatch.setenv("WECOLORA_DATABASE_URL", "")
    settings = Settings()
    assert settings.allowed_hosts == ("gpu-server", "api.example.org")
    assert settings.lease_seconds == 5
    assert settings.database_url is None


def test_secrets_are_not_shown():
    settings = Settings(s3_secret_access_key="do-not-show")
    assert "do-not-show" not in repr(settings)
