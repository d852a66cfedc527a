"""Which images every optimiser step sees, and at which learning rate. Pure arithmetic on the seed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

Key = tuple[int, int]
"""(view, image): names one augmented view of one image in a run; the same key is always the same pixels."""


@dataclass(frozen=True)
class Schedule:
    """The whole course of a run, known before it starts, so that it can be resumed at any step.

    An epoch is cut into optimiser steps of ``batch_size · accumulate`` images and each of these into micro-batches.
    The last step of an epoch takes what is left, so that no image is dropped and few images never mean no step.

    Attributes:
        images: number of images.
        epochs: passes over them.
        batch_size: images in a micro-batch.
        accumulate: micro-batches in a step.
        warmup_epochs: linear warm-up.
        peak_learning_rate: after the warm-up.
        seed: of the order.
        views: different views of an image, shown in turn; None: a new one at every epoch.
    """

    images: int
    epochs: int
    batch_size: int
    accumulate: int
    warmup_epochs: float
    peak_learning_rate: float
    seed: int
    views: int | None = None

    @property
    def images_per_step(self) -> int:
        """Images behind one full optimiser step."""
        return min(self.batch_size * self.accumulate, self.images)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in an epoch, at least 1."""
        return math.ceil(self.images / self.images_per_step)

    @property
    def total_steps(self) -> int:
        """Optimiser steps in the run."""
        return self.steps_per_epoch * self.epochs

    @property
    def warmup_steps(self) -> int:
        """Optimiser steps of warm-up; always fewer than all."""
        return max(0, min(round(self.warmup_epochs * self.steps_per_epoch), self.total_steps - 1))

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 0.

        The rate is that of the step's end during warm-up (never 0) and of its start in the decay, so that every step
        moves the weights.

        Args:
            step: optimiser step, counted from 0.
        """
        if step < self.warmup_steps:
            return self.peak_learning_rate * (step + 1) / (self.warmup_steps + 1)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.peak_learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def epoch_of(self, step: int) -> int:
        """Epoch of a step, both counted from 0."""
        return step // self.steps_per_epoch

    def micro_batches(self, first_step: int) -> Iterator[list[Key]]:
        """(view, image) pairs of every micro-batch, from one step to the end of the run."""
        for epoch in range(self.epoch_of(first_step), self.epochs):
            order = torch.randperm(self.images, generator=_generator(self.seed, epoch)).tolist()
            view = epoch if self.views is None else epoch % self.views
            skipped = max(0, first_step - epoch * self.steps_per_epoch) * self.images_per_step
            for start in range(skipped, self.images, self.images_per_step):
                step = order[start : start + self.images_per_step]
                for micro in range(0, len(step), self.batch_size):
                    yield [(view, image) for image in step[micro : micro + self.batch_size]]

    def step_sizes(self, step: int) -> list[int]:
        """Images in each micro-batch of a step."""
        start = (step % self.steps_per_epoch) * self.images_per_step
        left = min(self.images_per_step, self.images - start)
        return [min(self.batch_size, left - done) for done in range(0, left, self.batch_size)]


def _generator(*numbers: int) -> torch.Generator:
    """A generator for a tuple of numbers, independent of the global random state."""
    return torch.Generator().manual_seed(mix_seed(*numbers))


def mix_seed(*numbers: int) -> int:
    """One 63-bit seed out of several numbers, different for every tuple in practice (splitmix64)."""
    mixed = 0
    for number in numbers:
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    return mixed >> 1
