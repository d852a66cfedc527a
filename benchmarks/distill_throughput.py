"""How many images a second does a distillation take in, from files to steps, beside a plain implementation?

The plain side (`plain_distillation`) decodes and augments at every visit in loader processes, computes in float32, has
the pairs as two more linear layers beside each matrix, and waits for every step's loss. The engine's sides:

- ``paper-fp32``: the recipe `paper`, which is float32 as well: what the arithmetic's form and the decoding are worth;
- ``paper-auto``: the same in the precision that the engine chooses on this device;
- ``best``: what a user gets who sets nothing: closed form, views that come back, precision of its choice;
- ``paper-compiled``, when asked for: ``paper-auto`` with the blocks of both networks compiled (`torch.compile`) in the
  first epoch. The engine has no such option: this is to find out what it would be worth.

Every side is a process of its own, and all but one are stopped (SIGSTOP), so that they take turns, an epoch each, in
the same minutes: only ratios within one run mean anything on a shared machine. Prints JSON lines: the machine and its
matrix products, then a line a side. `times_plain` is how many times the plain side's speed it has: by the clock (median
and worst epoch, all epochs, and with what comes before the first step: decoding, refitting), and by processor time,
which other work on the machine disturbs least. `share_of_matmul_rate` is the median's: what teacher and student must
multiply, a teacher asked at every visit, over what the device multiplies in large products of the same precision.

    ./run bench distill_throughput
    ./run bench distill_throughput --model vit_base_patch16_224 --sizes 224 --batch-size 128 --images 2560
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.machine import describe_machine
from benchmarks.made_images import write_photographs
from benchmarks.plain_distillation import PlainImages, PlainTrainer, endless_batches, make_student
from wecolora.blocks import copy_weights, select_blocks
from wecolora.config import DistillConfig
from wecolora.cost import count_gmacs
from wecolora.devices import resolve_device
from wecolora.families import model_blocks
from wecolora.images import find_images
from wecolora.lora import adapter_state, add_lora
from wecolora.plan import make_plan, make_trainer
from wecolora.torchvision_compat import timm

PLAIN = "plain"
_SIDES: dict[str, dict[str, object]] = {
    "paper-fp32": {"recipe": "paper", "precision": "fp32"},
    "paper-auto": {"recipe": "paper", "precision": "auto"},
    "best": {"recipe": "best"},
}
_COMPILED = "paper-compiled"
_EPOCHS = 12  # of the recipe `best`: its views come back after 4, and then the teacher is not asked again
_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

Steps = Iterator[float]
Facts = dict[str, Any]


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    if options.side:
        _be_a_side(options)
        return
    device = resolve_device(options.device)
    rates = {name: _matmul_rate(device, kind) for name, kind in _PRECISIONS.items()}
    machine = {**describe_machine(), "torch_threads": torch.get_num_threads(), "device": device.type}
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    settings = {key: getattr(options, key) for key in ("model", "r", "k", "images", "epochs")}
    products = {name: round(rate / 1e12, 3) for name, rate in rates.items()}
    _print({**machine, "matmul_tflops": products, **settings})
    with tempfile.TemporaryDirectory() as scratch:
        images = options.photographs or write_photographs(Path(scratch) / "images", options.images)
        for size in options.sizes:
            _compare(options, images, size, rates)


def _compare(options: argparse.Namespace, images: Path, size: int, rates: dict[str, float]) -> None:
    """All sides at one image size, by turns."""
    sides = [_Side(name, options, images, size) for name in (PLAIN, *options.sides)]
    try:
        for side in sides:
            side.prepare()
        for _ in range(options.epochs):
            for side in sides:
                side.epoch()
        for side in sides:
            side.end()
    finally:
        for side in sides:
            side.kill()
    operations = _operations(options, size)
    for side in sides:
        share = operations * side.images_per_second / rates[side.facts["precision"]]
        _print({"size": size, **side.compared_with(sides[0]), "share_of_matmul_rate": round(share, 3)})


class _Side:
    """A process that distils an epoch whenever it is asked to, and stands still otherwise."""

    def __init__(self, name: str, options: argparse.Namespace, images: Path, size: int) -> None:
        handed = ("model", "r", "k", "batch_size", "epochs", "device", "loader_processes")
        arguments = [f"--{key.replace('_', '-')}={getattr(options, key)}" for key in handed]
        command = [sys.executable, "-m", "benchmarks.distill_throughput", f"--side={name}", f"--sizes={size}"]
        self._process = subprocess.Popen(
            [*command, f"--photographs={images}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.name = name
        self.preparing_seconds = 0.0
        self.seconds: list[float] = []  # of each epoch
        self.processor_seconds = 0.0
        self.facts: Facts = {}
        self._hear()
        self._signal(signal.SIGSTOP)

    def prepare(self) -> None:
        """From the files to the first step."""
        self.preparing_seconds = self._ask("prepare")["seconds"]

    def epoch(self) -> None:
        """One pass over the images."""
        taken = self._ask("epoch")
        self.seconds.append(taken["seconds"])
        self.processor_seconds += taken["processor_seconds"]

    def end(self) -> None:
        """Hear what the side says of itself."""
        self.facts = self._ask("end")

    @property
    def images_per_second(self) -> float:
        """In the median epoch."""
        return float(self.facts["images_per_epoch"]) / statistics.median(self.seconds)

    def compared_with(self, plain: "_Side") -> dict[str, Any]:
        """The side's line."""
        ratios = [theirs / ours for theirs, ours in zip(plain.seconds, self.seconds, strict=True)]
        ours, theirs = (side.preparing_seconds + sum(side.seconds) for side in (self, plain))
        return {
            "side": self.name,
            "precision": self.facts["precision"],
            "batch_size": self.facts["batch_size"],
            "images_per_second": round(self.images_per_second, 2),
            "times_plain": {
                "median": round(statistics.median(ratios), 2),
                "min": round(min(ratios), 2),
                "all_epochs": round(sum(plain.seconds) / sum(self.seconds), 2),
                "with_preparation": round(theirs / ours, 2),
                "processor": round(plain.processor_seconds / self.processor_seconds, 2),
            },
            "preparing_seconds": round(self.preparing_seconds, 2),
            "peak_memory_mib": self.facts["peak_memory_mib"],
        }

    def _ask(self, what: str) -> dict[str, Any]:
        self._signal(signal.SIGCONT)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer = self._hear()
        self._signal(signal.SIGSTOP)
        return answer

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def _signal(self, number: int) -> None:
        """Loader processes are of the same group, and stand still as well."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it, however it stands."""
        self._signal(signal.SIGKILL)
        self._process.wait()


def _be_a_side(options: argparse.Namespace) -> None:
    device = resolve_device(options.device)
    (size,) = options.sizes
    torch.manual_seed(0)
    teacher = _random_teacher(options.model, size)
    make = _prepare_plain if options.side == PLAIN else _prepare_engine
    _print({"ready": True})
    steps: Steps = iter(())
    facts: Facts = {}
    for line in sys.stdin:
        started, used = time.perf_counter(), _processor_seconds()
        match line.strip():
            case "prepare":
                steps, facts = make(teacher, size, options, device)
            case "epoch":
                for _ in range(facts["steps_per_epoch"]):
                    next(steps)
            case _:
                _print({**facts, "peak_memory_mib": _peak_memory(device)})
                return
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        _print(
            {
                "seconds": time.perf_counter() - started,
                "processor_seconds": _processor_seconds() - used,
            }
        )


def _prepare_plain(
    teacher: nn.Module, size: int, options: argparse.Namespace, device: torch.device
) -> tuple[Steps, Facts]:
    student = make_student(teacher, _kept(teacher, options.r), options.k)
    trainer = PlainTrainer(teacher, student, device)
    images = PlainImages(find_images(options.photographs), size, 0.2)
    batch = min(options.batch_size, len(images))
    batches = endless_batches(images, batch, options.loader_processes, device.type == "cuda")
    per_epoch = len(images) // batch
    facts = {
        "precision": "fp32",
        "batch_size": batch,
        "steps_per_epoch": per_epoch,
        "images_per_epoch": per_epoch * batch,
    }
    return (trainer.step(views) for views in batches), facts


def _prepare_engine(
    teacher: nn.Module, _size: int, options: argparse.Namespace, device: torch.device
) -> tuple[Steps, Facts]:
    config = DistillConfig.model_validate(
        {
            **_SIDES["paper-auto" if options.side == _COMPILED else options.side],
            "compression_factor": options.r,
            "lora_rank": options.k,
            "batch_size": options.batch_size,
            "epochs": options.epochs,
            "device": device.type,
        }
    )
    plan = make_plan(teacher, options.photographs, config, lambda _progress: None)
    facts = {
        "precision": plan.setting.precision,
        "batch_size": plan.schedule.batch_size,
        "steps_per_epoch": plan.schedule.steps_per_epoch,
        "images_per_epoch": plan.schedule.images,
    }
    trainer = make_trainer(plan)
    if options.side == _COMPILED:
        for block in (*model_blocks(trainer.teacher), *model_blocks(trainer.student)):
            block.compile()
    return (result.loss for result in trainer.steps()), facts


def _operations(options: argparse.Namespace, size: int) -> float:
    """Of one visit of one image: teacher and student forwards, the tokens' gradients, and those of the pairs."""
    teacher = _random_teacher(options.model, size)
    student = copy_weights(teacher, _kept(teacher, options.r))
    gmacs = count_gmacs(teacher) + 2 * count_gmacs(student)
    pairs = sum(tensor.numel() for tensor in adapter_state(add_lora(student, options.k)).values())
    tokens = int(cast("Tensor", teacher.pos_embed).shape[1])
    return 2 * (1e9 * gmacs + 2 * tokens * pairs)


def _kept(teacher: nn.Module, r: int) -> tuple[int, ...]:
    return select_blocks(len(cast("nn.Sequential", teacher.blocks)), r)


def _random_teacher(model: str, size: int) -> nn.Module:
    """Speed does not depend on what the weights say."""
    teacher: nn.Module = timm.create_model(model, img_size=size)
    return teacher


def _peak_memory(device: torch.device) -> dict[str, int]:
    """MiB: of the process, of the loader processes beside it what they share with no other, and of the GPU."""
    peaks = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    loaders = [_private_mib(loader) for loader in _loaders()]
    if loaders:
        peaks["loader_processes"] = sum(loaders)
    if device.type == "cuda":
        peaks["gpu"] = torch.cuda.max_memory_allocated(device) // 2**20
    return peaks


def _loaders() -> list[Path]:
    """This process's children in /proc; none where there is no /proc."""
    lists = Path("/proc/self/task").glob("*/children")
    return [Path("/proc") / child for each in lists for child in each.read_text().split()]


def _private_mib(process: Path) -> int:
    lines = (process / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) // 1024


def _processor_seconds() -> float:
    """Of all threads, and of the loader processes."""
    ticks = 0
    for loader in _loaders():
        # The name in parentheses may hold spaces; user and system time are the 12th and 13th fields after it.
        user, system = (loader / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        ticks += int(user) + int(system)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _matmul_rate(device: torch.device, kind: torch.dtype) -> float:
    """Operations a second of a large matrix product, the best of several."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    best = float("inf")
    for _ in range(8):
        wait()
        started = time.perf_counter()
        left @ right
        wait()
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="vit_small_patch16_224", help="a timm ViT; its weights are random")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 96])
    parser.add_argument("--r", type=int, default=2)
    parser.add_argument("--k", type=int, default=128)
    parser.add_argument("--images", type=int, default=64, help="made for the run")
    parser.add_argument("--photographs", type=Path, help="a folder, instead of made ones")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=_EPOCHS)
    parser.add_argument("--sides", nargs="+", choices=[*_SIDES, _COMPILED], default=list(_SIDES))
    parser.add_argument("--loader-processes", type=int, default=2, help="of the plain side")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--side", choices=[PLAIN, *_SIDES, _COMPILED], help=argparse.SUPPRESS)
    return parser.parse_args()


def _print(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
