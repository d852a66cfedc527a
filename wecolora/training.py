"""Steps 9 to 15 of Algorithm 1: train the pairs on the teacher's tokens."""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from wecolora.config import LossPlace
from wecolora.devices import autocast, deterministic
from wecolora.errors import DivergedLoss, OutOfMemory
from wecolora.images import AugmentedImages
from wecolora.losses import TokenReader, feature_l1
from wecolora.schedule import Schedule

# The authors' code: AdamW with these moments. The paper names no optimiser.
BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class StepResult:
    """One optimiser step.

    Attributes:
        step: steps done, counted from 1.
        epoch: of this step, counted from 0.
        loss: mean over the step's images, before the step changed the weights.
        learning_rate: that the step used.
        images_per_second: over this step.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    images_per_second: float


@dataclass
class Setting:
    """Where and how the arithmetic is done.

    Attributes:
        device: of both models and the images.
        precision: ``fp32`` or ``bf16`` (autocast; weights and optimiser stay fp32).
        loss_place: tokens compared before or after the final norm.
        weight_decay: of AdamW.
        loader_processes: image loader processes; 0 loads in the training process.
    """

    device: torch.device
    precision: str = "fp32"
    loss_place: LossPlace = LossPlace.BEFORE_NORM
    weight_decay: float = 0.05
    loader_processes: int = 0


class _MicroBatches(Sampler[list[tuple[int, int]]]):
    """The schedule's micro-batches from one step on, made as they are asked for."""

    def __init__(self, schedule: Schedule, first_step: int) -> None:
        self.schedule = schedule
        self.first_step = first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.schedule.micro_batches(self.first_step)


class Trainer:
    """A run that can be stopped after any step and continued elsewhere.

    Iterate over `steps`; between two steps `state` holds everything that the rest of the run depends on, so a run
    that is continued from it ends with the same weights, bit for bit on the same machine.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        images: AugmentedImages,
        schedule: Schedule,
        setting: Setting,
    ) -> None:
        self.student = student.to(setting.device).eval()  # eval: no dropout, so that only the pairs learn
        self.teacher = teacher.to(setting.device).eval().requires_grad_(False)
        self.images = images
        self.schedule = schedule
        self.setting = setting
        self.step = 0
        self.losses: list[float] = []
        self.speeds: list[float] = []
        self.trainable = {name: p for name, p in student.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trainable.values(),
            lr=schedule.peak_learning_rate,
            betas=BETAS,
            weight_decay=setting.weight_decay,
            fused=setting.device.type == "cuda",
        )

    def steps(self) -> Generator[StepResult]:
        """Do the steps that are left, one at a time.

        Raises:
            OutOfMemory: the device cannot hold a micro-batch.
            DivergedLoss: the loss is not finite.
        """
        read_student = TokenReader(self.student, self.setting.loss_place)
        read_teacher = TokenReader(self.teacher, self.setting.loss_place)
        with read_student.attached(), read_teacher.attached(), deterministic(self.setting.device):
            batches = iter(self._loader())
            while self.step < self.schedule.total_steps:
                yield self._one_step(batches, read_student, read_teacher)

    def state(self) -> dict[str, Tensor]:
        """Trainable tensors, AdamW's moments and the history, by name, on the CPU."""
        tensors = {f"trainable.{name}": parameter.detach() for name, parameter in self.trainable.items()}
        for name, parameter in self.trainable.items():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"adamw.{key}.{name}": value for key, value in moments.items()}
        tensors["history.loss"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors["history.images_per_second"] = torch.tensor(self.speeds, dtype=torch.float64)
        return {name: tensor.cpu().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from a `state`.

        Raises:
            KeyError: when a tensor is missing.
        """
        for name, parameter in self.trainable.items():
            parameter.copy_(tensors[f"trainable.{name}"])
            moments = {key: tensors.get(f"adamw.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            if all(value is not None for value in moments.values()):
                # AdamW counts steps in a CPU tensor unless it is fused.
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device if key != "step" or self._fused() else "cpu")
                    for key, value in moments.items()
                    if value is not None
                }
        self.losses = tensors["history.loss"].tolist()
        self.speeds = tensors["history.images_per_second"].tolist()
        self.step = len(self.losses)

    def _fused(self) -> bool:
        return self.setting.device.type == "cuda"

    def _loader(self) -> DataLoader[Tensor]:
        processes = self.setting.loader_processes
        return DataLoader(
            self.images,
            batch_sampler=_MicroBatches(self.schedule, self.step),
            num_workers=processes,
            pin_memory=self.setting.device.type == "cuda",
            multiprocessing_context="fork" if processes else None,
        )

    def _one_step(
        self, batches: Iterator[Tensor], read_student: TokenReader, read_teacher: TokenReader
    ) -> StepResult:
        started = time.perf_counter()
        learning_rate = self.schedule.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        sizes = self.schedule.step_sizes(self.step)
        total = torch.zeros((), device=self.setting.device)
        for size in sizes:
            try:
                total += self._micro_batch(next(batches), size / sum(sizes), read_student, read_teacher)
            except torch.OutOfMemoryError as error:
                raise OutOfMemory(str(self.setting.device), size) from error
        loss = float(total)
        if not math.isfinite(loss):
            raise DivergedLoss(self.step + 1, learning_rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        speed = sum(sizes) / max(time.perf_counter() - started, 1e-9)
        epoch = self.schedule.epoch_of(self.step)
        self.step += 1
        self.losses.append(loss)
        self.speeds.append(speed)
        return StepResult(self.step, epoch, loss, learning_rate, speed)

    def _micro_batch(
        self, images: Tensor, weight: float, read_student: TokenReader, read_teacher: TokenReader
    ) -> Tensor:
        """Gradients of a micro-batch, weighted so that the step's gradient is the mean over its images."""
        images = images.to(self.setting.device, non_blocking=True)
        with autocast(self.setting.device, self.setting.precision):
            with torch.no_grad():
                target = read_teacher(images)
            loss = feature_l1(read_student(images), target) * weight
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
