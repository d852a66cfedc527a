"""A child that does what its specification says: `python -m tests.worker.scripted_child EVENTS_FD`."""

import os
import signal
import sys
import time

from pydantic import BaseModel

from worker.childside import Worker, run_child
from worker.protocol import (
    ArtifactRef,
    CheckpointMessage,
    CheckpointRef,
    ErrorMessage,
    LogMessage,
    PhaseMessage,
    ProgressMessage,
    ResultMessage,
)

PROGRESS = {
    "step": 1, "total_steps": 9, "epoch": 0, "loss": 0.5, "lr": 1e-3, "images_per_second": 1.0, "seconds_left": 60,
}  # fmt: skip


class Script(BaseModel):
    steps: list[str]
    prefix: str = ""


def act(worker: Worker, step: str, prefix: str) -> None:  # noqa: C901 - one line a step
    match step.split(" ", 1):
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case ["phase", phase]:
            worker.send(PhaseMessage(phase=phase))
        case ["progress"]:
            worker.send(ProgressMessage(progress=PROGRESS, is_metric=True))
        case ["log", message]:
            worker.send(LogMessage(level="warning", message=message))
        case ["checkpoint", number]:
            key = f"{prefix}/checkpoints/1/{number}.safetensors"
            worker.send(
                CheckpointMessage(checkpoint=CheckpointRef(key=key, sha256="0" * 64, step=int(number)))
            )
        case ["result"]:
            file = ArtifactRef(
                name="a", key=f"{prefix}/attempts/1/a", size_bytes=1, sha256="0" * 64, content_type="x/y"
            )
            worker.send(ResultMessage(result={"steps": 9}, artifacts=[file]))
        case ["error", code]:
            worker.send(ErrorMessage(code=code, message="lr is 9.", param="lr"))
        case ["raise", message]:
            raise RuntimeError(message)
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["exit", status]:
            os._exit(int(status))
        case ["deaf"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case ["print", text]:
            sys.stdout.write(text)
            sys.stdout.flush()
        case ["flood"]:
            for _ in range(64):
                sys.stdout.write("x" * (1 << 20))
            sys.stdout.write("\nthe last line\n")
            sys.stdout.flush()
        case ["nonsense"]:
            os.write(int(sys.argv[1]), b"{this is no message}\n")
        case ["orphan"]:
            if os.fork() == 0:
                time.sleep(600)
        case _:
            raise ValueError(step)


def play(worker: Worker, script: Script) -> None:
    for step in script.steps:
        act(worker, step, script.prefix)


if __name__ == "__main__":
    run_child(Script, play)
