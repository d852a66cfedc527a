"""A rank but the first: ``python -m wecolora.follower``, started by `wecolora.parallel`.

Reads one line of JSON from its input, says `READY`, and takes part in the steps. The end of its input means that the
first rank is gone. What went wrong is one line of JSON on its output.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import torch

from wecolora.checkpoints import check_same_run, read_checkpoint
from wecolora.config import DistillConfig
from wecolora.devices import resolve_device
from wecolora.errors import OutOfMemory, WecoloraError
from wecolora.parallel import READY, join, leave
from wecolora.plan import chosen_blocks, make_plan, make_trainer, run_identity
from wecolora.ranks import Ranks
from wecolora.teachers import TeacherSpec


def main() -> int:
    """Follow the first rank; returns the exit status."""
    # The first rank stops in order, with a checkpoint, and ends this one by closing its input.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # What libraries print goes where errors go: the first rank reads this process's words only.
    words = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    spec = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_first_rank, daemon=True).start()
    try:
        _follow(spec, words)
    except OutOfMemory as error:
        told = {"message": str(error), "device": error.device, "batch_size": error.batch_size}
        print(json.dumps(told), file=words, flush=True)
        return 1
    except (WecoloraError, RuntimeError, OSError) as error:
        print(json.dumps({"message": str(error)}), file=words, flush=True)
        return 1
    return 0


def _follow(spec: dict[str, Any], words: TextIO) -> None:
    config = DistillConfig.model_validate(spec["config"])
    if resolve_device(config.device).type == "cuda":
        torch.cuda.set_device(spec["rank"])
    checkpoint = read_checkpoint(Path(spec["handover"]))
    plan = make_plan(
        TeacherSpec(**spec["teacher"]),
        Path(spec["images"]),
        config,
        lambda progress: None,
        chosen_blocks(checkpoint.run),
    )
    check_same_run(checkpoint, run_identity(plan))
    trainer = make_trainer(plan)
    trainer.load_state(checkpoint.tensors)
    print(READY, file=words, flush=True)
    join(Path(spec["meeting_point"]), spec["rank"], spec["size"], plan.setting.device)
    trainer.ranks = Ranks(spec["rank"], spec["size"])
    for _ in trainer.steps():
        pass
    leave()


def _end_with_the_first_rank() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    # Left at once: a thread that waits for a connection to a rank that is gone would hold the process.
    os._exit(main())
