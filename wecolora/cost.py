"""What a model costs: parameters, multiply-accumulates, latency, throughput, memory, size of its file."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wecolora.architectures import architecture_name, empty_tensors
from wecolora.devices import resolve_device
from wecolora.families import model_blocks
from wecolora.teachers import TeacherSpec, image_size_of, load_teacher
from wecolora.throughput import BatchCost, check_batch_sizes, measure_batches, timed


@dataclass(frozen=True)
class ModelCost:
    """Cost of one model at its own input size.

    Attributes:
        architecture: timm's name.
        depth: number of blocks.
        image_size: side of the input in pixels.
        parameters: all of them.
        trainable_parameters: those that distillation updated, where the folder says so; those that require
            gradients; all of them for a frozen or plain model.
        gmacs: 10⁹ multiply-accumulates for one image.
        latency_ms: median time of one image, batch of 1.
        device: that the latency was measured on.
        file_size_bytes: of ``model.safetensors``; of its tensors when the model lies in memory only.
        batches: throughput and peak memory at the batch sizes that were asked for; empty when none were.
    """

    architecture: str
    depth: int
    image_size: int
    parameters: int
    trainable_parameters: int
    gmacs: float
    latency_ms: float
    device: str
    file_size_bytes: int
    batches: tuple[BatchCost, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return asdict(self) | {"batches": [asdict(batch) for batch in self.batches]}


def inspect_model(
    model: nn.Module | TeacherSpec | str | Path,
    device: str = "auto",
    trainable_parameters: int | None = None,
    batch_sizes: Sequence[int] = (),
) -> ModelCost:
    """Measure one model.

    Args:
        model: a module, or what `load_teacher` takes.
        device: to time it on.
        trainable_parameters: to report instead of counting those that require gradients.
        batch_sizes: see `inspect_models`.

    Raises:
        WecoloraError: what `load_teacher` raises.
        OutOfRange: a batch size is not from 1 to 4096.
    """
    return inspect_models([model], device, [trainable_parameters], batch_sizes)[0]


def inspect_models(
    models: Sequence[nn.Module | TeacherSpec | str | Path],
    device: str = "auto",
    trainable_parameters: Sequence[int | None] | None = None,
    batch_sizes: Sequence[int] = (),
) -> list[ModelCost]:
    """Measure several models side by side: their timings alternate, so that a busy machine slows them alike.

    Args:
        models: modules, or what `load_teacher` takes.
        device: to time them on.
        trainable_parameters: of each model, to report instead of counting those that require gradients.
        batch_sizes: to measure throughput and peak memory at (`BatchCost`). This takes seconds a model and batch size,
            and some more for the process that measures memory on a CPU; without batch sizes it is left out.

    Raises:
        WecoloraError: what `load_teacher` raises.
        OutOfRange: a batch size is not from 1 to 4096.
    """
    resolved = resolve_device(device)
    sizes = check_batch_sizes(batch_sizes)
    modules = [model if isinstance(model, nn.Module) else load_teacher(model) for model in models]
    homes = [next(module.parameters()).device for module in modules]
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.to(resolved).eval()
        latencies = measure_latencies(modules, resolved)
        batches = measure_batches(modules, models, resolved, sizes)
    finally:
        for module, home, mode in zip(modules, homes, modes, strict=True):
            module.to(home).train(mode)
    counts = trainable_parameters or [None] * len(modules)
    return [
        replace(_cost(module, source, latency, resolved, count), batches=of_batches)
        for module, source, latency, count, of_batches in zip(
            modules, models, latencies, counts, batches, strict=True
        )
    ]


def count_gmacs(model: nn.Module, image_size: int | None = None) -> float:
    """10⁹ multiply-accumulates of one forward pass of one image, attention products included.

    The pass runs on the meta device: no arithmetic is done and no memory is taken.

    Args:
        model: on any device.
        image_size: side of the image in pixels; None takes the model's own.
    """
    size = image_size or image_size_of(model)
    images = torch.empty(1, 3, size, size, device="meta")
    mode = model.training
    try:
        model.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            torch.func.functional_call(model, empty_tensors(model), (images,))
    finally:
        model.train(mode)
    return float(counter.get_total_flops()) / 2e9


def measure_latencies(models: Sequence[nn.Module], device: torch.device, seconds: float = 1.0) -> list[float]:
    """Median milliseconds of one image for each model, their runs alternating.

    Args:
        models: on the device, in eval mode.
        device: that they lie on.
        seconds: to spend on each model, warm-up aside.
    """
    inputs = [
        torch.randn(1, 3, image_size_of(model), image_size_of(model), device=device) for model in models
    ]
    times: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for _ in range(2):
            for model, images in zip(models, inputs, strict=True):
                timed(model, images, device)
        while min(len(runs) for runs in times) < 5 or (
            sum(map(sum, times)) < seconds * len(models) and len(times[0]) < 50
        ):
            for model, images, runs in zip(models, inputs, times, strict=True):
                runs.append(timed(model, images, device))
    return [1e3 * statistics.median(runs) for runs in times]


def _cost(
    module: nn.Module,
    source: nn.Module | TeacherSpec | str | Path,
    latency_ms: float,
    device: torch.device,
    trainable_parameters: int | None,
) -> ModelCost:
    parameters = sum(parameter.numel() for parameter in module.parameters())
    trainable = trainable_parameters
    if trainable is None:
        trainable = (
            _trained(source) or sum(p.numel() for p in module.parameters() if p.requires_grad) or parameters
        )
    return ModelCost(
        architecture=architecture_name(module),
        depth=len(model_blocks(module)),
        image_size=image_size_of(module),
        parameters=parameters,
        trainable_parameters=trainable,
        gmacs=count_gmacs(module),
        latency_ms=latency_ms,
        device=str(device),
        file_size_bytes=_file_size(module, source),
    )


def _file_size(module: nn.Module, source: nn.Module | TeacherSpec | str | Path) -> int:
    if not isinstance(source, nn.Module):
        path = Path(source.source if isinstance(source, TeacherSpec) else source)
        weights = path / "model.safetensors" if path.is_dir() else path
        if weights.is_file():
            return weights.stat().st_size
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _trained(source: nn.Module | TeacherSpec | str | Path) -> int | None:
    """The count that `export_student` wrote into a delivered folder."""
    if isinstance(source, nn.Module):
        return None
    config = Path(source.source if isinstance(source, TeacherSpec) else source) / "config.json"
    if not config.is_file():
        return None
    count = json.loads(config.read_text()).get("wecolora", {}).get("trainable_parameters")
    return int(count) if count is not None else None
