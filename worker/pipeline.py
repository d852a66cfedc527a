"""One job from its inputs to its stored files: fetch, distil, merge, probe, export, publish."""

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from core.errors import StorageUnavailable
from core.states import Phase
from core.workload import count_work
from wecolora import DistillConfig, DistillResult, Progress, TeacherSpec, distill
from wecolora.config import OPTION_NAMES, explain
from wecolora.errors import (
    CheckpointMismatch,
    Interrupted,
    InvalidCheckpoint,
    NonFiniteLoss,
    OutOfMemory,
    WecoloraError,
)
from worker.childside import Worker
from worker.fetch import Inputs, fetch_checkpoint
from worker.gpu import device_name, gpu_memory
from worker.patience import PatientStorage
from worker.progress import ProgressThrottle
from worker.protocol import (
    CheckpointMessage,
    CheckpointRef,
    JobSpec,
    LogMessage,
    PhaseMessage,
    ResultMessage,
)
from worker.publish import store_artifacts, write_report, zip_folder

if TYPE_CHECKING:
    from wecolora import LabelledSet

_IMAGES_OF_ATTENTION = 8
# Their features are computed anew for the page: few enough to cost seconds, enough to show the classes.
_POINTS_OF_MAP = 2000
_COSTS = ("parameters", "gmacs", "latency_ms", "file_size_bytes")


@dataclass
class Pipeline:
    """Runs in a child; reports to the worker, stores objects under keys of its attempt."""

    spec: JobSpec
    inputs: Inputs
    storage: PatientStorage
    worker: Worker
    throttle: ProgressThrottle = field(default_factory=ProgressThrottle)
    phase: Phase = Phase.FETCHING
    stored: CheckpointRef | None = None
    """The last checkpoint that is known to be whole."""
    stored_count: int = 0
    """Checkpoints that this attempt has stored."""

    @property
    def out(self) -> Path:
        """The engine's output folder."""
        return self.spec.scratch / "out"

    def run(self) -> None:
        """All phases after the first; the last message is the result."""
        started = time.monotonic()
        config = self._config()
        labelled = self._read_probe(config)
        resume = self._fetch_checkpoint()
        self._enter(Phase.PREPARING)
        result = self._distill(config, resume)
        report = dict(result.report)
        match report["onnx"]:
            case {"file": None, "reason": str(reason)}:
                self._log(reason, warning=True)
        report["probe"] = self._probe(config, labelled)
        self._enter(Phase.EXPORTING)
        write_report(self.out / "report.json", report)
        zip_folder(self.out / "student", self.out / "student.zip")
        self._draw(config, labelled)
        self._enter(Phase.PUBLISHING)
        prefix = f"jobs/{self.spec.job_id}/attempts/{self.spec.attempt}"
        artifacts = store_artifacts(self.storage, self.out, prefix)
        summary = summarise(report, time.monotonic() - started) | self._measure(report, labelled)
        self.worker.send(ResultMessage(result=summary, artifacts=artifacts))

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self.worker.send(PhaseMessage(phase=phase))

    def _config(self) -> DistillConfig:
        try:
            return DistillConfig.model_validate(self.spec.options.to_engine())
        except ValidationError as error:
            raise explain(error) from error

    def _teacher(self, image_size: int | None = None) -> TeacherSpec:
        """The teacher for the engine; a bare weights file does not say what it is, other sources do."""
        teacher = self.spec.teacher
        if teacher.kind != "uploaded":
            return TeacherSpec(self.inputs.teacher_source, image_size=image_size)
        size = image_size or teacher.image_size
        mean, std = (None if values is None else tuple(values) for values in (teacher.mean, teacher.std))
        return TeacherSpec(self.inputs.teacher_source, teacher.architecture, size, mean=mean, std=std)

    def _fetch_checkpoint(self) -> bool:
        self.out.mkdir(parents=True, exist_ok=True)
        for checkpoint in self.spec.checkpoints:
            if fetch_checkpoint(self.storage, checkpoint, self._checkpoint_file):
                self.stored = checkpoint
                self._log(f"Resuming from step {checkpoint.step}.")
                return True
            self._log(f"The checkpoint of step {checkpoint.step} is gone or damaged.", warning=True)
        if self.spec.checkpoints:
            self._log("No checkpoint is left; starting anew.", warning=True)
        return False

    @property
    def _checkpoint_file(self) -> Path:
        return self.out / "checkpoint.safetensors"

    def _distill(self, config: DistillConfig, resume: bool) -> DistillResult:
        """Distil; at most one more try each with a fresh start and with half the batch."""
        smaller_tried = False
        while True:
            try:
                return self._distill_once(config, resume)
            except (CheckpointMismatch, InvalidCheckpoint):
                if not resume:
                    raise
                self._log("The checkpoint does not fit this machine's settings; starting anew.", warning=True)
                self._checkpoint_file.unlink(missing_ok=True)
                resume = False
            except OutOfMemory as error:
                if smaller_tried or error.batch_size < 2:
                    raise
                smaller_tried = True
                half = error.batch_size // 2
                self._log(f"Out of memory with batches of {error.batch_size}; trying {half}.", warning=True)
                config = config.model_copy(update={"batch_size": half, "accumulate": 2 * config.accumulate})
                self._checkpoint_file.unlink(missing_ok=True)
                resume = False

    def _distill_once(self, config: DistillConfig, resume: bool) -> DistillResult:
        # A run that is to stop does so between two steps, with a checkpoint: see `_on_progress`.
        with self.worker.deferring_stop():
            try:
                return distill(
                    self._teacher(),
                    self.inputs.images,
                    config=config,
                    out=self.out,
                    resume=resume,
                    on_progress=self._on_progress,
                    checkpoint_seconds=self.spec.checkpoint_seconds,
                )
            except Interrupted as stopped:
                if stopped.step:
                    self._store_checkpoint(self._checkpoint_file, stopped.step)
                raise
            except NonFiniteLoss as error:
                # The engine names a file of this machine's scratch; the owner knows the job alone.
                stored = self.stored
                kept = None if stored is None else f"that of step {stored.step}, which is kept with the job"
                raise NonFiniteLoss(error.step, error.value, error.learning_rate, kept) from error

    def _on_progress(self, progress: Progress) -> None:
        if progress.checkpoint is not None:
            self._store_checkpoint(progress.checkpoint, progress.step)
        if progress.checkpoint_error is not None:
            self._log(f"{progress.checkpoint_error} The training goes on.", warning=True)
        if progress.phase in ("merging", "exporting"):
            self._enter(Phase.MERGING)
        else:
            is_training = progress.phase == "distilling"
            self._enter(Phase.DISTILLING if is_training else Phase.PREPARING)
            message = self.throttle.take(
                _progress_json(progress), progress.step, progress.total_steps, has_metrics=is_training
            )
            if message is not None:
                self.worker.send(message)
        if self.worker.stop_requested:
            # Only between two steps is there a checkpoint that belongs to the step.
            raise Interrupted(progress.step if progress.phase == "distilling" else 0)

    def _store_checkpoint(self, file: Path, step: int) -> None:
        # By number, not by step: a run that begins anew comes by the same steps again.
        self.stored_count += 1
        key = f"jobs/{self.spec.job_id}/checkpoints/{self.spec.attempt}/{self.stored_count}.safetensors"
        try:
            stored = self.storage.at_once.put_file(key, file)
        except StorageUnavailable as error:
            self._log(f"The checkpoint of step {step} could not be stored ({error}).", warning=True)
            return
        new, previous = CheckpointRef(key=key, sha256=stored.sha256, step=step), self.stored
        self.stored = new
        self.worker.send(CheckpointMessage(checkpoint=new, previous=previous))

    def _read_probe(self, config: DistillConfig) -> "LabelledSet | None":
        """The probe's images, read before the training: labels that do not fit should not cost an hour of it."""
        probe = self.inputs.probe
        if probe is None:
            return None
        # Brings scikit-learn, two seconds that a job without a probe does not wait for.
        from wecolora.evaluation.readers import read_labelled
        from wecolora.evaluation.splits import check_held_out

        labelled = read_labelled(probe.train, probe.test, format="folders", seed=config.seed)
        train, test = (
            replace(part, classes=tuple(probe.classes[int(number)] for number in part.classes))
            for part in (labelled.train, labelled.test)
        )
        labelled = replace(labelled, train=train, test=test)
        check_held_out(labelled.train, config.seed)
        return labelled

    def _probe(self, config: DistillConfig, labelled: "LabelledSet | None") -> dict[str, Any] | None:
        if labelled is None:
            return None
        from wecolora import evaluate

        self._enter(Phase.PROBING)
        models: dict[str, TeacherSpec | Path] = {
            "teacher": self._teacher(config.image_size),
            "student": self.out / "student",
        }
        compared = evaluate(models, labelled, protocols=["logistic"], device=config.device, seed=config.seed)
        return {name: results["logistic"].to_dict() for name, results in compared.results.items()}

    def _draw(self, config: DistillConfig, labelled: "LabelledSet | None") -> None:
        """The page and its pictures. They are no reason to lose a student that is trained."""
        # Brings matplotlib, and t-SNE where there are labels.
        from wecolora import PageInputs, write_report_page

        files = sorted(path for path in self.inputs.images.rglob("*") if path.is_file())
        shown = files[:: -(-len(files) // _IMAGES_OF_ATTENTION)]
        try:
            written = write_report_page(
                self.out,
                PageInputs(
                    teacher=self._teacher(config.image_size),
                    labelled=labelled,
                    images=tuple(shown),
                    batch_sizes=(),
                    most_points=_POINTS_OF_MAP,
                    device=config.device,
                    seed=config.seed,
                ),
            )
            zip_folder(self.out / "pictures", self.out / "pictures.zip")
        except (WecoloraError, OSError, RuntimeError) as error:
            self._log(f"There is no report page: {error}", warning=True)
            (self.out / "report.html").unlink(missing_ok=True)
            if (self.out / "pictures").exists():
                shutil.rmtree(self.out / "pictures")
            return
        for each in written.left_out:
            self._log(f"Not on the report page: {each.part}: {each.remedy}")

    def _measure(self, report: dict[str, Any], labelled: "LabelledSet | None") -> dict[str, Any]:
        """What was computed where, for estimates of other jobs; no work where an earlier attempt did part of it."""
        training, images = report["training"], report["images"]["used"]
        teacher, student = (report[name]["gmacs"] for name in ("teacher", "student"))
        parts = () if labelled is None else (labelled.train, labelled.test)
        probe_images = sum(len(part) for part in parts)
        is_whole = not training["resumed_from_step"]
        kept = len(report["student"]["blocks"])
        work = (
            count_work(self.spec.options, images, teacher, student, kept=kept, probe_images=probe_images)
            if is_whole
            else None
        )
        device = training["device"].partition(":")[0]
        return {"device": device, "device_name": device_name(device), "images": images, "work_gmacs": work}

    def _log(self, message: str, *, warning: bool = False) -> None:
        self.worker.send(LogMessage(level="warning" if warning else "info", message=message))


def summarise(report: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The table of a finished job: teacher against student, what was done, and how the training went."""
    training, student, probe = report["training"], report["student"], report["probe"] or {}
    table = {
        name: {"probe_accuracy": probe.get(name, {}).get("accuracy")}
        | {cost: report[name][cost] for cost in _COSTS}
        for name in ("teacher", "student")
    }
    return table | {
        "method": report["method"],
        "recipe": report["recipe"]["name"],
        "changed": [OPTION_NAMES.get(name, name) for name in report["recipe"]["changed"]],
        "steps": training["optimiser_steps"],
        "lr": training["peak_learning_rate"],
        "batch_size": training["batch_size"],
        "warmup_steps": training["warmup_steps"],
        "initial_loss": training["initial_loss"],
        "final_loss": training["final_loss"],
        "seconds": round(seconds, 2),
        "trainable_parameters": student["trainable_parameters"],
        "blocks": student["blocks"],
        "refit": report["refit"],
        "delivered": student["delivered"],
        "load": report["load"],
    }


def _progress_json(progress: Progress) -> dict[str, Any]:
    return {
        "activity": progress.phase,
        "step": progress.step,
        "total_steps": progress.total_steps,
        "epoch": progress.epoch,
        "epochs": progress.epochs,
        "loss": progress.loss,
        "lr": progress.learning_rate,
        "images_per_second": progress.images_per_second,
        "seconds_left": progress.seconds_left,
    } | gpu_memory()
