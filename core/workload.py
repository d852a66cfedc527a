"""How much a job computes, and how long such work took before.

Arithmetic of the engine's schedule is here again so that the API can answer without torch; a test compares the two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.kept_blocks import MEASURED
from core.options import JobOptions

STEPS_PER_EPOCH: Final = 20
LARGEST_BATCH: Final = 128
SMALLEST_BATCH: Final = 16
SEARCH_IMAGES: Final = 700
LEAST_SEARCH_IMAGES: Final = 300

FORWARD_AND_BACKWARD: Final = 3
"""A training step costs about three passes of the network that it trains."""


@dataclass(frozen=True)
class Course:
    """The optimiser steps of a run.

    Attributes:
        images: that are used.
        batch_size: images in a micro-batch.
        steps: in all epochs together.
    """

    images: int
    batch_size: int
    steps: int


def plan_course(options: JobOptions, image_count: int) -> Course:
    """The steps that a job will take.

    Args:
        options: complete.
        image_count: images of the dataset, at least 1.
    """
    ratio = options.few_shot_ratio
    images = image_count if ratio == 1.0 else max(1, round(ratio * image_count))
    accumulate = options.accumulate or 1
    wanted = images // (STEPS_PER_EPOCH * accumulate)
    batch_size = options.batch_size or max(SMALLEST_BATCH, min(LARGEST_BATCH, wanted))
    batch_size = min(batch_size, images)
    steps = math.ceil(images / min(batch_size * accumulate, images)) * _epochs(options)
    return Course(images, batch_size, steps)


def _epochs(options: JobOptions) -> int:
    return 0 if options.method == "weco" else options.epochs or 0


def count_work(
    options: JobOptions,
    images: int,
    teacher_gmacs: float,
    student_gmacs: float,
    *,
    kept: int,
    probe_images: int = 0,
) -> float:
    """10⁹ multiply-accumulates of a job, about: what its length is in proportion to on one device.

    The search for blocks passes its images once through the teacher and through about (r - 1) · M students, M their
    depth; the refit passes every view through both networks; an epoch is a forward and a backward pass of the student
    and one of the teacher, whose answers are kept where views come again; a probe passes its images through both.

    Args:
        options: complete.
        images: that are used.
        teacher_gmacs: of one image.
        student_gmacs: likewise.
        kept: M, blocks of the student.
        probe_images: labelled images, training and test.
    """
    both = teacher_gmacs + student_gmacs
    is_refitted = options.init == "closed-form" and options.method != "kd"
    refit = both * (options.refit_views or 1) if is_refitted else 0.0
    is_searched = is_refitted and options.policy == MEASURED and options.layers is None
    searched = min(images, SEARCH_IMAGES) if is_searched and images >= LEAST_SEARCH_IMAGES else 0
    search = searched * (teacher_gmacs + student_gmacs * (1 + (options.r - 1) * kept))
    epochs = _epochs(options)
    seen = epochs if options.views is None else min(epochs, options.views)
    training = FORWARD_AND_BACKWARD * student_gmacs * epochs + teacher_gmacs * seen
    return search + images * (refit + training) + probe_images * both


@dataclass(frozen=True)
class Timing:
    """What a finished job computed and how long it took."""

    gmacs: float
    seconds: float


def estimate_seconds(work_gmacs: float, timings: Sequence[Timing]) -> float:
    """How long the work would take: on a straight line through what was measured.

    The line's start is what every job takes whatever its work (loading, drawing the report), its slope the device's
    pace. It is the one with the least squares of relative errors, so that one long job does not outweigh many short
    ones, and neither start nor slope is negative. A single measurement gives a pace alone.

    Args:
        work_gmacs: of `count_work`.
        timings: at least one; all of positive length.
    """
    weights = [1 / timing.seconds**2 for timing in timings]
    total = sum(weights)
    mean_work = sum(w * t.gmacs for w, t in zip(weights, timings, strict=True)) / total
    mean_seconds = sum(w * t.seconds for w, t in zip(weights, timings, strict=True)) / total
    spread = sum(w * (t.gmacs - mean_work) ** 2 for w, t in zip(weights, timings, strict=True))
    together = sum(
        w * (t.gmacs - mean_work) * (t.seconds - mean_seconds) for w, t in zip(weights, timings, strict=True)
    )
    slope = together / spread if spread else 0.0
    start = mean_seconds - slope * mean_work
    if slope > 0 and start >= 0:
        return start + slope * work_gmacs
    through_zero = sum(w * t.gmacs * t.seconds for w, t in zip(weights, timings, strict=True)) / sum(
        w * t.gmacs**2 for w, t in zip(weights, timings, strict=True)
    )
    # More work took less time, or all took the same: the pace says more than the line.
    return through_zero * work_gmacs
