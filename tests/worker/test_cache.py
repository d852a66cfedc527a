"""A worker's cache stays below its size and takes nothing from a job that uses it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.cache import DRAFT_SECONDS, Cache
from worker.child import ROOT

HOLD = """
import sys
from pathlib import Path
from worker.cache import Cache
cache = Cache(Path(sys.argv[1]), 1)
cache.get("images", sys.argv[2], lambda path: path.write_bytes(b"held"))
print("held", flush=True)
sys.stdin.read()
"""


def filled(cache: Cache, name: str, size: int = 100) -> Path:
    """An entry as another process would have left it: nobody holds it any more."""
    with Cache(cache.folder, cache.max_bytes) as job:
        path = job.get("images", name, lambda draft: draft.write_bytes(b"x" * size))
    time.sleep(0.02)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 250)


def test_the_longest_unused_makes_room(cache: Cache) -> None:
    first, second = filled(cache, "a"), filled(cache, "b")
    filled(cache, "a")  # asked for again
    third = filled(cache, "c")
    assert [path.exists() for path in (first, second, third)] == [True, False, True]
    assert sorted(cache.names("images")) == ["a", "c"]


def test_a_folder_counts_all_its_files(cache: Cache) -> None:
    def fill(folder: Path) -> None:
        (folder / "deep").mkdir(parents=True)
        for name in ("1", "deep/2"):
            (folder / name).write_bytes(b"x" * 120)

    with Cache(cache.folder, 250) as job:
        folder = job.get("images", "many", fill)
    assert folder.is_dir()
    filled(cache, "b")
    assert not folder.exists()


def test_what_a_living_process_uses_stays_and_what_a_killed_one_used_goes(cache: Cache) -> None:
    command = [sys.executable, "-c", HOLD, str(cache.folder), "held"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        filled(cache, "other", 300)
        assert "held" in cache.names("images")
        assert not cache.discard("images", "held")
        process.kill()
    assert cache.discard("images", "held")
    assert not (cache.folder / "images" / "held").exists()


def test_what_an_earlier_release_left_is_measured_when_it_is_used(cache: Cache) -> None:
    (cache.folder / "images").mkdir(parents=True)
    (cache.folder / "images" / "old").write_bytes(b"x" * 300)
    old = filled(cache, "old")
    new = filled(cache, "new")
    assert (old.exists(), new.exists()) == (False, True)


def test_an_entry_that_was_removed_is_made_again(cache: Cache) -> None:
    path = filled(cache, "a")
    assert cache.discard("images", "a")
    assert not path.exists()
    assert filled(cache, "a").read_bytes() == b"x" * 100


def test_a_fill_that_fails_leaves_nothing(cache: Cache) -> None:
    def fail(draft: Path) -> None:
        draft.write_bytes(b"half")
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError), cache:
        cache.get("images", "a", fail)
    assert list((cache.folder / "images").iterdir()) == []


def test_drafts_of_killed_processes_are_removed_after_a_day(cache: Cache) -> None:

    filled(cache, "a")
    old, new = (cache.folder / "images" / f".a.{name}" for name in ("old", "new"))
    for draft in (old, new):
        draft.mkdir()
    os.utime(old, (time.time() - DRAFT_SECONDS - 1,) * 2)
    cache.shrink()
    assert (old.exists(), new.exists()) == (False, True)
