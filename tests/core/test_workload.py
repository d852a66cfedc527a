"""Steps, work and time of a job, before it runs."""

import itertools

import pytest
from PIL import Image

from core.options import JobOptions
from core.recipes import complete_options
from core.workload import (
    LEAST_SEARCH_IMAGES,
    SEARCH_IMAGES,
    Timing,
    count_work,
    estimate_seconds,
    plan_course,
)
from wecolora.block_search import LEAST_IMAGES, MOST_IMAGES
from wecolora.config import DistillConfig
from wecolora.images import load_images
from wecolora.schedule import Schedule


@pytest.mark.parametrize("images", [1, 7, 15, 16, 17, 300, 1281, 5000, 100_000])
def test_the_steps_are_the_engines(images):
    for batch_size, accumulate, epochs in itertools.product((None, 1, 64, 4096), (1, 3, 8), (0, 1, 10)):
        config = DistillConfig(batch_size=batch_size, accumulate=accumulate, epochs=epochs)
        options = JobOptions(batch_size=batch_size, accumulate=accumulate, epochs=epochs)
        size = config.micro_batch_size(images)
        schedule = Schedule(images, epochs, size, accumulate, 0, 1e-3, 0)
        course = plan_course(options, images)
        assert (course.images, course.batch_size, course.steps) == (images, size, schedule.total_steps)


def test_a_share_of_the_images_is_the_engines(tmp_path):
    for number in range(30):
        Image.new("L", (4, 4), 8 * number).save(tmp_path / f"{number}.png")
    images = load_images(tmp_path, 4)
    for ratio in (0.001, 0.05, 0.1, 0.35, 0.5, 0.99, 1.0):
        used = len(images.subset(ratio, 0))
        assert plan_course(JobOptions(few_shot_ratio=ratio, epochs=1), 30).images == used


def test_work_counts_passes():
    assert (SEARCH_IMAGES, LEAST_SEARCH_IMAGES) == (MOST_IMAGES, LEAST_IMAGES)  # the engine's
    # 10 images; refit over 2 views, 12 epochs of training over 4 views whose answers of the teacher are kept.
    best = complete_options({}, 8)
    assert count_work(best, 10, 4.0, 2.0, kept=6) == 10 * (2 * 6.0 + 3 * 2.0 * 12 + 4.0 * 4)
    # With more images the blocks are searched for, on 700 of them: one teacher, and the start and six other students.
    many = count_work(best, 1000, 4.0, 2.0, kept=6)
    assert many == 1000 * (2 * 6.0 + 3 * 2.0 * 12 + 4.0 * 4) + 700 * (4.0 + 2.0 * 7)
    assert count_work(complete_options({"layers": [0, 3]}, 8), 1000, 4.0, 2.0, kept=2) < many
    paper = complete_options({"recipe": "paper"}, 8)
    assert count_work(paper, 10, 4.0, 2.0, kept=6) == 10 * (3 * 2.0 * 10 + 4.0 * 10)
    assert count_work(paper, 10, 4.0, 2.0, kept=6, probe_images=5) == 10 * (3 * 2.0 * 10 + 4.0 * 10) + 5 * 6.0
    assert count_work(complete_options({"method": "weco"}, 8), 10, 4.0, 2.0, kept=6) == 0


def test_an_estimate_finds_the_start_and_the_pace():
    timings = [Timing(work, 12.0 + 0.5 * work) for work in (10.0, 100.0, 4000.0)]
    assert estimate_seconds(200.0, timings) == pytest.approx(112.0)


def test_one_measurement_gives_a_pace():
    assert estimate_seconds(20.0, [Timing(10.0, 4.0)]) == pytest.approx(8.0)


@pytest.mark.parametrize(
    "timings", [[(10.0, 9.0), (20.0, 6.0)], [(10.0, 5.0), (10.0, 7.0)], [(1.0, 1.0), (2.0, 9.0)]]
)
def test_an_estimate_is_never_negative_and_grows_with_the_work(timings):
    measured = [Timing(*each) for each in timings]
    estimates = [estimate_seconds(work, measured) for work in (0.1, 1.0, 10.0, 100.0)]
    assert estimates == sorted(estimates)
    assert estimates[0] > 0
