"""How near is the memory that the API reckons for a job (`core.device_memory`) to what the job takes?

    ./run bench device_memory [TEACHER …]

Each case is a process of its own that makes the plan and two steps with random weights at a micro-batch of 8, and tells
its peak: resident memory on a processor, what the driver says is in use on a GPU. Prints a JSON line for each.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe_machine
from benchmarks.made_images import write_photographs
from core.catalogue import load_catalogue
from core.device_memory import SMALL_MICRO_BATCH, needed_bytes
from core.kept_blocks import kept_blocks
from core.recipes import complete_options
from wecolora.config import DistillConfig
from wecolora.devices import resolve_device
from wecolora.plan import make_plan, make_trainer
from wecolora.torchvision_compat import timm

_TEACHERS = ("vit_small_patch16_224", "vit_base_patch16_224", "vit_large_patch16_224", "resnet50.a1_in1k")
_K, _IMAGES = 64, 16


@dataclass(frozen=True)
class Case:
    """One run."""

    teacher: str
    recipe: str
    precision: str
    checkpoint_activations: bool = False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("teachers", nargs="*")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        _say({"peak_bytes": _peak_of(Case(**json.loads(options.case)), options.images)})
        return
    _say(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        images = write_photographs(Path(folder), _IMAGES)
        for teacher in options.teachers or _TEACHERS:
            for case in _cases(teacher):
                reckoned = _reckoned(case)
                peak = _in_a_process(case, images)
                told = {"peak_gib": round(peak / 2**30, 2), "reckoned_gib": round(reckoned / 2**30, 2)}
                _say(asdict(case) | told | {"peak_of_reckoned": round(peak / reckoned, 2)})


def _cases(teacher: str) -> list[Case]:
    cases = [Case(teacher, "paper", "fp32"), Case(teacher, "paper", "bf16")]
    if teacher.startswith("vit"):
        cases.append(Case(teacher, "paper", "bf16", checkpoint_activations=True))
    return cases


def _reckoned(case: Case) -> int:
    catalogue = load_catalogue()
    teacher = catalogue.find_teacher(case.teacher)
    network = catalogue.known_network(teacher.resolve(), teacher.parameters)
    assert network is not None, case.teacher
    options = complete_options(
        {
            "recipe": case.recipe,
            "precision": case.precision,
            "checkpoint_activations": case.checkpoint_activations,
        },
        _K,
    )
    return needed_bytes(options, network, kept_blocks(network.stages, options))


def _in_a_process(case: Case, images: Path) -> int:
    command = [sys.executable, "-m", "benchmarks.device_memory", "--images", str(images)]
    done = subprocess.run(
        [*command, "--case", json.dumps(asdict(case))], check=True, stdout=subprocess.PIPE, text=True
    )
    return int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])


def _peak_of(case: Case, images: Path) -> int:
    config = DistillConfig(
        recipe=case.recipe,
        compression_factor=2,
        lora_rank=_K,
        epochs=2,
        batch_size=SMALL_MICRO_BATCH,
        precision=case.precision,
        checkpoint_activations=case.checkpoint_activations,
    )
    trainer = make_trainer(make_plan(timm.create_model(case.teacher), images, config, lambda _: None))
    for _ in islice(trainer.steps(), 2):
        pass
    if resolve_device(config.device).type == "cuda":
        free, total = torch.cuda.mem_get_info()
        return total - free
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
