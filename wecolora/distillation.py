"""The whole of Algorithm 1: from a teacher and a folder of images to a merged student on disk."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from torch import nn

from wecolora.checkpoints import Checkpoint, check_same_run, read_checkpoint, write_checkpoint
from wecolora.closed_form import BlockFit
from wecolora.combinations import check_combinations
from wecolora.config import DistillConfig
from wecolora.cost import count_gmacs, inspect_models
from wecolora.errors import CheckpointNotWritten, Interrupted, NonFiniteLoss, OnnxFailed, OutputExists
from wecolora.export import export_adapter
from wecolora.lora import lora_layers
from wecolora.metrics import MetricsFile
from wecolora.parallel import ranks_of
from wecolora.plan import Plan, chosen_blocks, make_plan, make_trainer, run_identity
from wecolora.progress import Progress, ProgressCallback
from wecolora.report import make_report
from wecolora.teachers import TeacherSpec
from wecolora.training import StepResult, Trainer

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class DistillResult:
    """A finished distillation.

    Attributes:
        student: the merged student, on the CPU.
        report: what was done and measured; the content of ``report.json``.
        student_dir: timm folder of the student; None when no output folder was given.
    """

    student: nn.Module
    report: dict[str, object]
    student_dir: Path | None


def distill(
    teacher: nn.Module | TeacherSpec | str | Path,
    images: Path | str,
    *,
    out: Path | str | None = None,
    config: DistillConfig | None = None,
    resume: bool = False,
    on_progress: ProgressCallback | None = None,
    checkpoint_seconds: float = 60.0,
    **options: object,
) -> DistillResult:
    """Distil a teacher into a student of floor(L / r) blocks (paper, Algorithm 1).

    Args:
        teacher: a timm model, or what `load_teacher` takes.
        images: folder of unlabelled images, searched with its subfolders.
        out: folder for ``student/``, ``student.onnx`` where it is asked for, ``adapter.safetensors``,
            ``metrics.jsonl``, ``report.json`` and, until the run has ended, ``checkpoint.safetensors``; None keeps the
            student in memory only.
        config: the settings; or give its fields as ``options``: ``compression_factor=2, lora_rank=128``.
        resume: go on from the folder's checkpoint, if there is one.
        on_progress: called after every step; it may raise `Interrupted` to stop the run with a checkpoint.
        checkpoint_seconds: between checkpoints.
        **options: fields of `DistillConfig`.

    Returns:
        The merged student and the report.

    Raises:
        WecoloraError: what was wrong; see `wecolora.errors`.
        pydantic.ValidationError: an option out of its range.
        Interrupted: when ``on_progress`` asked for it.
    """
    settings = config if config is not None else DistillConfig.model_validate(options)
    if config is not None and options:
        raise TypeError(f"give either config or single options, not both: {', '.join(options)}")
    check_combinations(settings)
    if out is None:
        with tempfile.TemporaryDirectory() as scratch:
            result = _distill(
                teacher, Path(images), Path(scratch), settings, False, on_progress, checkpoint_seconds
            )
            return DistillResult(result.student, result.report, None)
    _check_output(Path(out), resume)
    return _distill(teacher, Path(images), Path(out), settings, resume, on_progress, checkpoint_seconds)


def _distill(
    teacher: nn.Module | TeacherSpec | str | Path,
    images: Path,
    folder: Path,
    settings: DistillConfig,
    resume: bool,
    on_progress: ProgressCallback | None,
    checkpoint_seconds: float,
) -> DistillResult:
    notify = on_progress or (lambda progress: None)
    started = time.perf_counter()
    file = folder / CHECKPOINT
    checkpoint = read_checkpoint(file) if resume and file.exists() else None
    kept = None if checkpoint is None else chosen_blocks(checkpoint.run)
    with _borrowed(teacher) if isinstance(teacher, nn.Module) else nullcontext():
        plan = make_plan(teacher, images, settings, notify, kept)
        return _run(plan, folder, checkpoint, notify, checkpoint_seconds, started)


def _run(
    plan: Plan,
    folder: Path,
    checkpoint: Checkpoint | None,
    notify: ProgressCallback,
    checkpoint_seconds: float,
    started: float,
) -> DistillResult:
    folder.mkdir(parents=True, exist_ok=True)
    trainer = make_trainer(plan)
    run = run_identity(plan)
    if checkpoint is not None:
        check_same_run(checkpoint, run)
        trainer.load_state(checkpoint.tensors)
        plan.preparation.fits = [BlockFit(**fit) for fit in checkpoint.facts.get("refit", [])]
        plan.preparation.notes = tuple(checkpoint.facts.get("notes", ()))
    prepared = time.perf_counter()
    with ranks_of(plan, trainer, run) as trainer.ranks:
        resumed_from = _train(trainer, plan, run, folder, notify, checkpoint_seconds)
    trained = time.perf_counter()
    student, report = _deliver(plan, trainer, folder, notify)
    report["training"] |= {  # type: ignore[operator]
        "resumed_from_step": resumed_from,
        "preparing_seconds": round(prepared - started, 2),
        "training_seconds": round(trained - prepared, 2),
        "total_seconds": round(time.perf_counter() - started, 2),
    }
    _write_json(folder / "report.json", report)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return DistillResult(student, report, folder / "student")


def _check_output(folder: Path, resume: bool) -> None:
    finished = (folder / "report.json").exists()
    started = finished or any((folder / name).exists() for name in ("student", CHECKPOINT))
    if finished or (started and not resume):
        raise OutputExists(str(folder), finished)


@contextmanager
def _borrowed(teacher: nn.Module) -> Iterator[None]:
    """Give the caller's own model back as it was: its device, mode and what requires gradients."""
    device, mode = next(teacher.parameters()).device, teacher.training
    trainable = [parameter for parameter in teacher.parameters() if parameter.requires_grad]
    try:
        yield
    finally:
        teacher.to(device).train(mode)
        for parameter in trainable:
            parameter.requires_grad_(True)


def _train(
    trainer: Trainer,
    plan: Plan,
    run: dict[str, object],
    folder: Path,
    notify: ProgressCallback,
    checkpoint_seconds: float,
) -> int:
    """Run the steps that are left; returns the step that it started from."""
    file = folder / CHECKPOINT
    facts = {
        "refit": [asdict(fit) for fit in plan.preparation.fits],
        "notes": list(plan.preparation.notes),
    }
    first_step = trainer.step
    started = written = time.perf_counter()
    with (
        MetricsFile(folder / "metrics.jsonl", plan.schedule, trainer.losses, trainer.speeds) as metrics,
        closing(trainer.steps()) as steps,
    ):
        try:
            for result in steps:
                metrics.append(result)
                now = time.perf_counter()
                due = now - written >= checkpoint_seconds and result.step < plan.schedule.total_steps
                failure: str | None = None
                if due:
                    # A full disk now is no reason to lose what is trained: there is a next time, and an end.
                    try:
                        write_checkpoint(file, trainer.state(), run, facts)
                    except CheckpointNotWritten as error:
                        failure = str(error)
                    written = time.perf_counter()
                pace = (now - started) / (result.step - first_step)
                left = pace * (plan.schedule.total_steps - result.step)
                notify(_progress(plan, result, left, file if due and failure is None else None, failure))
        except Interrupted:
            write_checkpoint(file, trainer.state(), run, facts)
            raise Interrupted(trainer.step) from None
        except NonFiniteLoss as error:
            kept = str(file) if file.exists() else None
            raise NonFiniteLoss(error.step, error.value, error.learning_rate, kept) from error
    # What comes now is quick, but it may fail or be stopped too, and hours of training stay done.
    write_checkpoint(file, trainer.state(), run, facts)
    return first_step


def _progress(
    plan: Plan, result: StepResult, seconds_left: float, checkpoint: Path | None, checkpoint_error: str | None
) -> Progress:
    return Progress(
        phase="distilling",
        step=result.step,
        total_steps=plan.schedule.total_steps,
        epoch=result.epoch,
        epochs=plan.schedule.epochs,
        loss=result.loss,
        learning_rate=result.learning_rate,
        images_per_second=result.images_per_second,
        seconds_left=seconds_left,
        checkpoint=checkpoint,
        checkpoint_error=checkpoint_error,
    )


def _deliver(
    plan: Plan, trainer: Trainer, folder: Path, notify: ProgressCallback
) -> tuple[nn.Module, dict[str, object]]:
    """Merge, export and measure."""
    notify(Progress("merging", trainer.step, trainer.step))
    preparation, config = plan.preparation, plan.config
    trained = preparation.student.cpu()
    if lora_layers(trained):
        export_adapter(trained, folder / "adapter.safetensors", plan.blocks, trainer.computed)
    trainable = trainer.trained_parameters()
    unmerged_gmacs = count_gmacs(preparation.in_training or trained)
    student = preparation.finish(trained)
    notify(Progress("exporting", trainer.step, trainer.step))
    provenance = {
        "method": config.method,
        "recipe": config.recipe,
        "version": version("wecolora"),
        "blocks": list(plan.blocks),
        "compression_factor": config.compression_factor,
        "lora_rank": preparation.lora_rank,
        "trainable_parameters": trainable,
        "optimiser_steps": trainer.step,
        "seed": config.seed,
    }
    preparation.export(student, folder / "student", provenance)
    onnx = _deliver_onnx(student, folder / "student.onnx", provenance) if config.onnx else None
    costs = inspect_models([plan.teacher, student], config.device, [None, trainable])
    return student, make_report(plan, trainer, costs, unmerged_gmacs) | {"onnx": onnx}


def _deliver_onnx(student: nn.Module, file: Path, provenance: Mapping[str, object]) -> dict[str, object]:
    """What the report says of the file. That there is none is no reason to lose a student that is trained."""
    from wecolora.onnx_export import INPUT, OUTPUT, export_onnx  # brings seconds of imports

    try:
        export_onnx(student, file, provenance)
    except OnnxFailed as error:
        return {"file": None, "reason": str(error)}
    return {"file": file.name, "input": INPUT, "output": OUTPUT}


def _write_json(path: Path, content: dict[str, object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
