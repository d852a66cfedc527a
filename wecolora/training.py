"""Steps 9 to 15 of Algorithm 1: the one training loop, for every method."""

import itertools
import math
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wecolora.devices import autocast, deterministic, is_out_of_memory
from wecolora.errors import NonFiniteLoss, OutOfMemory
from wecolora.frozen_matrices import FrozenMatrices
from wecolora.objectives import Objective
from wecolora.ranks import Ranks
from wecolora.recomputation import recomputed_blocks
from wecolora.schedule import Key, Schedule
from wecolora.streams import Reading, one_ahead
from wecolora.targets import TargetCache
from wecolora.views import AugmentedImages

# The authors' code: AdamW with these moments. The paper names no optimiser.
BETAS = (0.9, 0.95)

Prepared = tuple[Tensor, ...]
"""A micro-batch's views, [B, 3, S, S], and what the teacher says of them where it was asked already."""


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
        weight_decay: of AdamW, on matrices.
        micro_batch: images that go through the networks at once, at most; None for a whole batch of the schedule.
        checkpoint_activations: see `recomputed_blocks`.
    """

    device: torch.device
    precision: str = "fp32"
    weight_decay: float = 0.05
    micro_batch: int | None = None
    checkpoint_activations: bool = False


class Trainer:
    """A run that can be stopped after any step and continued elsewhere.

    Iterate over `steps`; between two steps `state` holds everything that the rest of the run depends on, so a run
    that is continued from it ends with the same weights, bit for bit on the same machine and
    number of devices.

    Args:
        student: whose parameters that require gradients are trained.
        teacher: frozen here.
        objective: what is minimised; its parameters are trained, too.
        images: augmented views.
        schedule: of the steps.
        setting: device, precision and so on.
        computed: names of the student's tensors that were computed before training (a closed form), and so belong to
            the state although no step changes them.

    Attributes:
        ranks: this process among those that train together; alone unless set before the first step.
        micro_batch: images that go through the networks at once, at most; halved as often as memory does not suffice.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        objective: Objective,
        images: AugmentedImages,
        schedule: Schedule,
        setting: Setting,
        computed: Sequence[str] = (),
    ) -> None:
        self.student = student.to(setting.device).eval()  # eval: no dropout, so that only the loss decides
        self.teacher = teacher.to(setting.device).eval().requires_grad_(False)
        self.objective = objective.to(setting.device)
        self.images = images
        self.schedule = schedule
        self.setting = setting
        self.computed = tuple(computed)
        self.ranks = Ranks()
        self.micro_batch = setting.micro_batch or schedule.batch_size
        self.step = 0
        self.losses: list[float] = []
        self.speeds: list[float] = []
        self.trainable = {name: p for name, p in student.named_parameters() if p.requires_grad}
        self.trainable |= {f"objective.{name}": p for name, p in objective.named_parameters()}
        self._teachers_matrices = FrozenMatrices(self.teacher)
        self._asking = threading.Lock()
        self._targets = TargetCache(len(images) * schedule.views if schedule.views else 0)
        self.optimizer = self._make_optimizer() if self.trainable else None

    def _make_optimizer(self) -> torch.optim.AdamW:
        """AdamW with weight decay on matrices only, as the authors' code has it."""
        matrices, vectors = (
            [parameter for parameter in self.trainable.values() if (parameter.ndim > 1) is wide]
            for wide in (True, False)
        )
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW(
            groups,
            lr=self.schedule.peak_learning_rate,
            betas=BETAS,
            weight_decay=self.setting.weight_decay,
            fused=True,
        )

    def steps(self) -> Generator[StepResult]:
        """Do the steps that are left, one at a time.

        Raises:
            OutOfMemory: the device cannot hold one image's pass, or memory not the views of a batch.
            NonFiniteLoss: the loss is not a number any more.
        """
        if self.step >= self.schedule.total_steps:
            return
        setting = self.setting
        recomputed = (
            recomputed_blocks(self.student, setting.device, setting.precision)
            if setting.checkpoint_activations
            else nullcontext()
        )
        with (
            self.objective.attached(self.student, self.teacher),
            deterministic(setting.device),
            recomputed,
            closing(self._prepared()) as prepared,
        ):
            batches = self.schedule.micro_batches(self.step)
            while self.step < self.schedule.total_steps:
                yield self._one_step(batches, prepared)

    def state(self) -> dict[str, Tensor]:
        """Trainable and computed tensors, AdamW's moments and the history, by name, on the CPU."""
        tensors = {f"trainable.{name}": parameter.detach() for name, parameter in self.trainable.items()}
        tensors |= {f"objective.{name}": buffer for name, buffer in self.objective.named_buffers()}
        everything = self.student.state_dict()
        tensors |= {f"computed.{name}": everything[name] for name in self.computed}
        for name, parameter in self.trainable.items():
            moments = self.optimizer.state.get(parameter, {}) if self.optimizer else {}
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
        self.computed = tuple(
            name.removeprefix("computed.") for name in tensors if name.startswith("computed.")
        )
        everything = self.student.state_dict()
        for name in self.computed:
            everything[name].copy_(tensors[f"computed.{name}"])
        for name, buffer in self.objective.named_buffers():
            buffer.copy_(tensors[f"objective.{name}"])
        for name, parameter in self.trainable.items():
            parameter.copy_(tensors[f"trainable.{name}"])
            moments = {key: tensors.get(f"adamw.{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            if self.optimizer and all(value is not None for value in moments.values()):
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device) for key, value in moments.items() if value is not None
                }
        self.losses = tensors["history.loss"].tolist()
        self.speeds = tensors["history.images_per_second"].tolist()
        self.step = len(self.losses)

    def trained_parameters(self) -> int:
        """Numbers that the steps changed; what the loss does not depend on (a head, say) is not among them."""
        changed = self.optimizer.state if self.optimizer else {}
        return sum(parameter.numel() for parameter in self.trainable.values() if parameter in changed)

    def _prepared(self) -> Generator[Prepared]:
        """This rank's share of every micro-batch, from the next step on."""
        shares = filter(None, map(self.ranks.share, self.schedule.micro_batches(self.step)))
        return one_ahead((partial(self._prepare, keys) for keys in shares), self.setting.device)

    def _prepare(self, keys: list[Key]) -> Prepared:
        """Normalised views and, on a processor, targets: student and teacher at once leave fewer of its cores waiting.

        A GPU is busy with one of them, and has no room to spare.
        """
        device = self.setting.device
        views = self.images.batch(keys, device)
        if device.type != "cpu":
            return (views,)
        try:
            return views, *self._ask_the_teacher(keys, views)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return (views,)

    def _one_step(self, batches: Iterator[list[Key]], prepared: Iterator[Prepared]) -> StepResult:
        assert self.optimizer is not None
        started = time.perf_counter()
        learning_rate = self.schedule.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        sizes = self.schedule.step_sizes(self.step)
        # A share is empty where there are fewer images than ranks.
        shares = [keys for _ in sizes if (keys := self.ranks.share(next(batches)))]
        reading = self._gradients(shares, itertools.islice(prepared, len(shares)), sum(sizes))
        if self.ranks.size > 1:
            total = self.ranks.sum_gradients(list(self.trainable.values()), reading.numbers)
            reading = Reading(total)
        loss = float(reading.get())
        if not math.isfinite(loss):
            raise NonFiniteLoss(self.step + 1, loss, learning_rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        speed = sum(sizes) / max(time.perf_counter() - started, 1e-9)
        epoch = self.schedule.epoch_of(self.step)
        self.step += 1
        self.losses.append(loss)
        self.speeds.append(speed)
        return StepResult(self.step, epoch, loss, learning_rate, speed)

    def _gradients(self, shares: list[list[Key]], prepared: Iterator[Prepared], count: int) -> Reading:
        """Gradients of a step, in parts that memory holds.

        Returns this rank's part of the loss. It is read as it is before the last backward pass, so that a GPU still
        has that to do while the host looks at the number and prepares what comes next.

        Args:
            shares: keys of the step's batches.
            prepared: the same, see `_prepare`.
            count: images of the step, of all ranks.
        """
        while True:
            try:
                return self._attempt(shares, prepared, count)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not self._forget_targets():
                    tried = min(self.micro_batch, max(map(len, shares)))
                    if tried == 1:
                        raise OutOfMemory(str(self.setting.device), tried) from error
                    self.micro_batch = math.ceil(tried / 2)
            # Only here has the error let go of what the failed pass had computed.
            if self.optimizer is not None:
                self.optimizer.zero_grad(set_to_none=True)
            if self.setting.device.type == "cuda":
                torch.cuda.empty_cache()
            for _ in prepared:  # those of this step that were not taken yet
                pass
            prepared = ((self.images.batch(keys, self.setting.device),) for keys in shares)

    def _attempt(self, shares: list[list[Key]], prepared: Iterator[Prepared], count: int) -> Reading:
        total = torch.zeros((), device=self.setting.device)
        reading = Reading(total)
        for keys in shares:
            try:
                batch = next(prepared)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Smaller parts are no help: the views of a batch are made together.
                raise OutOfMemory(str(self.setting.device), len(keys)) from error
            for own, (views, *targets) in _parts(self.micro_batch, keys, batch):
                # Weighted so that the step's gradient is the mean over its images.
                loss = self._loss(own, views, tuple(targets)) * (len(own) / count)
                total = total + loss.detach()
                reading = Reading(total)
                loss.backward()  # type: ignore[no-untyped-call]
        return reading

    def _loss(self, keys: list[Key], images: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        """Mean loss of a micro-batch; without targets the teacher is asked here."""
        targets = targets or self._ask_the_teacher(keys, images)
        with autocast(self.setting.device, self.setting.precision):
            return self.objective.loss(images, keys, targets)

    def _ask_the_teacher(self, keys: list[Key], images: Tensor) -> tuple[Tensor, ...]:
        """Targets, first dimension B, of as many views at once as go through the student."""
        device, precision = self.setting.device, self.setting.precision

        def ask(own: list[Key], views: Tensor) -> tuple[Tensor, ...]:
            matrices = self._teachers_matrices.in_bf16() if precision == "bf16" else nullcontext()
            with torch.no_grad(), autocast(device, precision), matrices:
                return self.objective.targets(views, own)

        # One at a time: where memory was short a step asks for itself, while the next one's batch is being prepared.
        with self._asking:
            answers = [
                self._targets.get(own, device, partial(ask, own, views))
                for own, (views,) in _parts(self.micro_batch, keys, (images,))
            ]
        return answers[0] if len(answers) == 1 else tuple(map(torch.cat, zip(*answers, strict=True)))

    def _forget_targets(self) -> bool:
        with self._asking:
            return self._targets.forget()


def _parts(most: int, keys: list[Key], tensors: Sequence[Tensor]) -> Iterator[tuple[list[Key], list[Tensor]]]:
    """A batch and what belongs to its views, so many of them at a time."""
    for start in range(0, len(keys), most):
        end = start + most
        yield keys[start:end], [tensor[start:end] for tensor in tensors]
