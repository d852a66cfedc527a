"""Several devices of one machine: this process is the first rank and starts the others.

The others go on from this process's state as a stopped run does (`Trainer.load_state`), which also makes sure that they
see the same teacher, images and settings. They take part in the steps and deliver nothing, so that whoever follows,
stops or resumes a run deals with one process, whatever number of devices it uses. They end with it, however it ends.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from wecolora.checkpoints import write_checkpoint
from wecolora.errors import OutOfMemory, RankFailed
from wecolora.plan import Plan
from wecolora.ranks import Ranks
from wecolora.training import Trainer

READY = "ready"
# A process that the others wait for longer than this is taken for lost.
PATIENCE = timedelta(minutes=5)
_END_SECONDS = 10


@contextmanager
def ranks_of(plan: Plan, trainer: Trainer, run: dict[str, object]) -> Iterator[Ranks]:
    """Start the other ranks for the time of a training, and be the first.

    Args:
        plan: of the run; ``config.devices`` says how many ranks there are.
        trainer: in the state that the training goes on from.
        run: the run's identity, which the others compare theirs with.

    Raises:
        RankFailed, OutOfMemory: of another rank.
    """
    size = plan.config.devices
    if size == 1 or trainer.step >= plan.schedule.total_steps:
        yield Ranks()
        return
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as scratch:
        handover = Path(scratch) / "state.safetensors"
        write_checkpoint(handover, trainer.state(), run)
        meeting_point = Path(scratch) / "ranks"
        others = _start_others(plan, handover, meeting_point, max(1, threads // size))
        try:
            for rank, other in enumerate(others, 1):
                _wait_until_ready(rank, other)
            torch.set_num_threads(max(1, threads // size))
            join(meeting_point, 0, size, trainer.setting.device)
            yield Ranks(0, size)
            for rank, other in enumerate(others, 1):
                if other.wait(PATIENCE.total_seconds()):
                    raise _failure_of(rank, other)
        except RuntimeError as error:
            # A rank that is gone shows here as a broken connection; what it said is the better reason.
            for rank, other in enumerate(others, 1):
                with suppress(subprocess.TimeoutExpired):
                    if other.wait(_END_SECONDS / len(others)):
                        raise _failure_of(rank, other) from error
            raise
        finally:
            _end(others)
            leave()
            torch.set_num_threads(threads)


def join(meeting_point: Path, rank: int, size: int, device: torch.device) -> None:
    """Meet the other ranks; waits for all of them.

    Args:
        meeting_point: a file that does not exist before, the same for all.
        rank: of this process.
        size: processes in all.
        device: that they compute on.
    """
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=meeting_point.as_uri(),
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )


def leave() -> None:
    """Drop the connections to the other ranks."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _start_others(
    plan: Plan, handover: Path, meeting_point: Path, threads: int
) -> list["subprocess.Popen[str]"]:
    assert plan.source is not None, "check_devices was called"
    shared: dict[str, Any] = {
        "teacher": asdict(plan.source),
        "images": str(plan.folder.resolve()),
        "config": plan.config.model_dump(mode="json"),
        "handover": str(handover),
        "meeting_point": str(meeting_point),
        "size": plan.config.devices,
    }
    others = []
    for rank in range(1, plan.config.devices):
        process = subprocess.Popen(
            [sys.executable, "-m", "wecolora.follower"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},  # noqa: TID251 - for a child, not a setting
        )
        others.append(process)
        assert process.stdin is not None
        process.stdin.write(json.dumps({**shared, "rank": rank}) + "\n")
        process.stdin.flush()
    return others


def _wait_until_ready(rank: int, other: "subprocess.Popen[str]") -> None:
    assert other.stdout is not None
    line = other.stdout.readline()
    if line.strip() != READY:
        raise _failure_of(rank, other, line)


def _failure_of(rank: int, other: "subprocess.Popen[str]", line: str = "") -> Exception:
    """What a rank that has ended says of itself."""
    assert other.stdout is not None
    words = (line or other.stdout.readline()).strip()
    if not words:
        return RankFailed(rank, f"its process ended with status {other.wait()}")
    told = json.loads(words)
    if "batch_size" in told:
        return OutOfMemory(told["device"], told["batch_size"])
    return RankFailed(rank, told["message"])


def _end(others: list["subprocess.Popen[str]"]) -> None:
    """The end of its input is what tells a rank that the first one is done with it."""
    for other in others:
        assert other.stdin is not None
        assert other.stdout is not None
        with suppress(BrokenPipeError):
            other.stdin.close()
        try:
            other.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()
        other.stdout.close()
