"""Checkpoints of a run: one safetensors file, whole or absent, that says which run it belongs to."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wecolora.errors import CheckpointMismatch, CheckpointNotWritten, InvalidCheckpoint

_RUN = "wecolora_run"
_FACTS = "wecolora_facts"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of `Trainer.state`, the identity of the run, and what else its report will tell."""

    tensors: dict[str, Tensor]
    run: dict[str, object]
    facts: dict[str, Any]


def write_checkpoint(
    path: Path, tensors: dict[str, Tensor], run: dict[str, object], facts: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint so that a crash at any moment leaves the old file or the new one, never half of one.

    Args:
        path: of the file.
        tensors: `Trainer.state`.
        run: settings that a continued run must share; JSON values.
        facts: for the report of the continued run; JSON values.

    Raises:
        CheckpointNotWritten: the disk is full, or the folder is not there or not ours.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        save_file(tensors, partial, metadata={_RUN: json.dumps(run), _FACTS: json.dumps(facts or {})})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointNotWritten(str(path), str(error)) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InvalidCheckpoint: the file is torn or no checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        return Checkpoint(tensors, json.loads(metadata[_RUN]), json.loads(metadata.get(_FACTS, "{}")))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InvalidCheckpoint(str(path), f"it is no checkpoint of this program ({error})") from error


def check_same_run(checkpoint: Checkpoint, run: dict[str, object]) -> None:
    """Make sure that a checkpoint belongs to the same run.

    Raises:
        CheckpointMismatch: it belongs to a run with other settings; they are named.
    """
    stored, wanted = checkpoint.run, json.loads(json.dumps(run))
    differences = [
        f"{name} was {stored.get(name)!r} and is now {wanted.get(name)!r}"
        for name in sorted(stored.keys() | wanted.keys())
        if stored.get(name) != wanted.get(name)
    ]
    if differences:
        raise CheckpointMismatch(differences)
