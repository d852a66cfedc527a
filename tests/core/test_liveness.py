"""The command that an orchestrator runs to ask whether a process is well."""

import os
import shutil
import subprocess
import sys
import time

from core.liveness import beat, main
from core.settings import Settings
from tests.servers import run_api


def test_a_file_that_is_touched_is_a_process_that_is_well(tmp_path):
    file = tmp_path / "run" / "alive"
    assert main([str(file), "30"]) == f"{file} was never touched"
    beat(file)
    assert main([str(file), "30"]) == 0
    long_ago = time.time() - 100
    os.utime(file, (long_ago, long_ago))
    assert main([str(file), "30"]) == f"{file} was touched 100 s ago"


def test_an_api_is_asked_over_http_and_what_is_missing_is_said(tmp_path, sqlite_template):
    shutil.copy(sqlite_template, tmp_path / "wecolora.db")
    with run_api(Settings(data_dir=tmp_path)) as api:
        url = f"{api.url.rstrip('/')}/readyz"
        assert main([url]) == 0
        shutil.rmtree(tmp_path / "objects")
        (tmp_path / "objects").write_text("not a folder")
        reason = str(main([url]))
    assert "answered 503" in reason
    assert '"storage":{"ok":false' in reason
    assert "does not answer" in str(main([url]))


def test_the_command_s_exit_status_is_the_answer(tmp_path):
    command = [sys.executable, "-m", "core.liveness", str(tmp_path / "alive"), "30"]
    unwell = subprocess.run(command, capture_output=True, text=True)
    assert unwell.returncode == 1
    assert "was never touched" in unwell.stderr
    beat(tmp_path / "alive")
    assert subprocess.run(command).returncode == 0
