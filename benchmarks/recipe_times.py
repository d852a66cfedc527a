"""How long does each recipe take beside the others, on the same machine in the same minutes?

A shared machine is now fast and now slow, so runs after one another cannot be compared. Here the recipes' runs take
turns, step by step, each getting ahead in proportion to its length; their preparations (the closed form) take turns as
well, and the median of several counts. Prints one line of JSON a recipe, with its time as a share of the first one's.

    ./run bench recipe_times --teacher own.safetensors --architecture vit_small_patch14_dinov2 --image-size 56 \
        --images unlabelled --k 64 --r 2 3
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import torch

import wecolora
from benchmarks.machine import describe_machine
from benchmarks.own_teacher import add_teacher_and_images
from wecolora.plan import Plan, make_plan
from wecolora.progress import Progress
from wecolora.training import Trainer


class _Run:
    """One recipe's run, and the seconds that it has used."""

    def __init__(self, recipe: str, options: argparse.Namespace, r: int) -> None:
        self.recipe = recipe
        self.options = options
        self.config = wecolora.DistillConfig(
            recipe=wecolora.Recipe(recipe), compression_factor=r, lora_rank=options.k
        )
        self.preparing: list[float] = []
        self.training = 0.0
        self.steps: Iterator[object] = iter(())
        self.done = self.total = 0

    def prepare(self) -> None:
        """Load, copy and refit, once more."""
        spec = wecolora.TeacherSpec(self.options.teacher, self.options.architecture, self.options.image_size)
        started = time.perf_counter()
        plan = make_plan(spec, self.options.images, self.config, _ignore)
        self.preparing.append(time.perf_counter() - started)
        self._begin(plan)

    def _begin(self, plan: Plan) -> None:
        preparation = plan.preparation
        trainer = Trainer(
            preparation.student, plan.teacher, preparation.objective, plan.views, plan.schedule, plan.setting
        )
        self.steps, self.total = trainer.steps(), plan.schedule.total_steps
        self.precision = plan.setting.precision

    def step(self) -> None:
        """One optimiser step."""
        started = time.perf_counter()
        next(self.steps)
        self.training += time.perf_counter() - started
        self.done += 1

    @property
    def seconds(self) -> float:
        """Of the whole run but its delivery, which is the same for all."""
        return statistics.median(self.preparing) + self.training


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    print(json.dumps({**describe_machine(), "torch_threads": torch.get_num_threads()}), flush=True)  # noqa: T201
    for r in options.r:
        runs = [_Run(recipe, options, r) for recipe in options.recipes]
        for _ in range(options.repeats):
            for run in runs:
                run.prepare()
        while unfinished := [run for run in runs if run.done < run.total]:
            min(unfinished, key=lambda run: run.done / run.total).step()
        for run in runs:
            line = {
                "r": r,
                "recipe": run.recipe,
                "precision": run.precision,
                "preparing_seconds": round(statistics.median(run.preparing), 1),
                "training_seconds": round(run.training, 1),
                "optimiser_steps": run.total,
                "share_of_the_first": round(run.seconds / runs[0].seconds, 3),
            }
            print(json.dumps(line), flush=True)  # noqa: T201


def _ignore(_progress: Progress) -> None:
    """Nobody watches."""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_teacher_and_images(parser)
    parser.add_argument("--recipes", nargs="+", default=["paper", "best", "instant"])
    parser.add_argument("--r", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--repeats", type=int, default=3, help="preparations of each recipe")
    return parser.parse_args()


if __name__ == "__main__":
    main()
