"""``report.json``: what was done, with what, and what came out."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

import torch

from wecolora.cost import ModelCost
from wecolora.layouts import by_stage
from wecolora.plan import Plan
from wecolora.torchvision_compat import timm
from wecolora.training import Trainer


def make_report(
    plan: Plan, trainer: Trainer, costs: list[ModelCost], unmerged_gmacs: float
) -> dict[str, object]:
    """The report of a finished run, as JSON values.

    Args:
        plan: of the run.
        trainer: after its last step.
        costs: of the teacher and of the merged student.
        unmerged_gmacs: of the student in training.
    """
    schedule = plan.schedule
    last_epoch = trainer.losses[-schedule.steps_per_epoch :]
    config, preparation, stages = plan.config, plan.preparation, plan.layout.stages
    return {
        "method": config.method,
        "recipe": {"name": config.recipe, "changed": list(config.differences_from_recipe())},
        "versions": {
            "wecolora": version("wecolora"),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "python": platform.python_version(),
        },
        "config": config.model_dump(mode="json"),
        "notes": list(preparation.notes),
        "teacher": costs[0].to_dict() | {"stages": [stage.depth for stage in stages]},
        "student": costs[1].to_dict()
        | {
            "blocks": list(plan.blocks),
            "stages": [len(kept) for kept in by_stage(stages, plan.blocks)],
            "lora_rank": preparation.lora_rank,
            "gmacs_unmerged": unmerged_gmacs,
            "delivered": preparation.delivers,
        },
        "refit": [asdict(fit) for fit in preparation.fits],
        "images": {
            "found": plan.found,
            "used": len(plan.images),
            "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in plan.images.skipped],
        },
        "training": {
            "optimiser_steps": trainer.step,
            "epochs": schedule.epochs,
            "batch_size": schedule.batch_size,
            "accumulate": schedule.accumulate,
            "micro_batch": min(trainer.micro_batch, schedule.batch_size),
            "images_per_step": schedule.images_per_step,
            "warmup_steps": schedule.warmup_steps,
            "peak_learning_rate": schedule.peak_learning_rate,
            "device": str(plan.setting.device),
            "devices": plan.config.devices,
            "precision": plan.setting.precision,
            "initial_loss": trainer.losses[0] if trainer.losses else None,
            "final_loss": _mean(last_epoch),
            "images_per_second": _mean(trainer.speeds),
        },
        "load": preparation.load("student"),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
