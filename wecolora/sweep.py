"""Several distillations of one teacher, a run for every combination of the options that vary.

What can be checked is checked for all runs before the first one starts. A sweep that was stopped goes on with
the run that it stopped in; finished runs are kept.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from wecolora.architectures import architecture_name
from wecolora.config import DistillConfig
from wecolora.distillation import distill
from wecolora.errors import CheckpointMismatch, NoRun, OutputExists
from wecolora.evaluation.labelled import LabelledSet
from wecolora.evaluation.probe import linear_probe
from wecolora.evaluation.readers import read_labelled
from wecolora.families import describe_model
from wecolora.images import find_images
from wecolora.progress import ProgressCallback
from wecolora.sweep_grid import PlannedRun, combine, plan_runs
from wecolora.teachers import TeacherSpec, load_teacher

# What may differ between a finished run and one that is asked for now, without making it another run.
_FREE = frozenset({"device"})


@dataclass(frozen=True)
class SweepRow:
    """A finished run.

    Attributes:
        run: name of its folder.
        r: compression factor.
        k: LoRA rank that was asked for.
        varied: the other options that vary.
        blocks: of the student.
        parameters: of the student.
        trainable_parameters: in distillation.
        gmacs: of the merged student, for one image.
        gmacs_unmerged: in training.
        final_loss: mean of the last epoch; None when nothing was trained.
        seconds: that the run took.
        accuracy: of a probe on the student, 0 … 1; None without labels, or with any number of labels an image.
        mean_auc: of a probe, where there may be any number of labels an image.
        confidence_interval: of either, 95 %.
    """

    run: str
    r: int
    k: int
    varied: dict[str, str]
    blocks: int
    parameters: int
    trainable_parameters: int
    gmacs: float
    gmacs_unmerged: float | None
    final_loss: float | None
    seconds: float | None
    accuracy: float | None = None
    mean_auc: float | None = None
    confidence_interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        interval = self.confidence_interval
        return asdict(self) | {"confidence_interval": None if interval is None else list(interval)}


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    Attributes:
        rows: in the order of the runs.
        teacher: the probe's result on the teacher; None without labels.
        folder: with ``sweep.json``, ``sweep.csv`` and a folder a run.
    """

    rows: tuple[SweepRow, ...]
    teacher: dict[str, Any] | None
    folder: Path


def run_sweep(  # noqa: PLR0913 - all but the first four are keywords
    teacher: nn.Module | TeacherSpec | str | Path,
    images: Path | str,
    out: Path | str,
    options: Mapping[str, object],
    *,
    train: Path | str | None = None,
    test: Path | str | None = None,
    resume: bool = False,
    on_run: Callable[[PlannedRun, int, int], None] | None = None,
    on_progress: ProgressCallback | None = None,
) -> SweepResult:
    """Distil once for every combination of options.

    Args:
        teacher: as `distill` takes it; loaded once.
        images: folder of unlabelled images.
        out: folder for the runs and the tables.
        options: fields of `DistillConfig`; a list stands for values that vary, of which every combination is run.
        train: labelled images to probe teacher and students on (`read_labelled`); None leaves the probes out.
        test: likewise.
        resume: keep the folder's finished runs, and go on with the one that was stopped.
        on_run: called before each run that is not finished yet, with its number from 1 and the number of runs.
        on_progress: see `distill`; when it raises `Interrupted`, the sweep stops with that run's checkpoint.

    Raises:
        OutOfRange: an option of any of the runs, before the first one starts.
        OutputExists: the folder holds a sweep already and ``resume`` is not set.
        CheckpointMismatch: the folder's sweep is of another teacher, other images or other settings.
        WecoloraError: what `distill`, `read_labelled` and `linear_probe` raise.
    """
    folder = Path(out)
    if not resume and (folder / "sweep.json").exists():
        raise OutputExists(str(folder), finished=False)
    configs = combine(options)
    module, source = _load(teacher, configs)
    runs = plan_runs(configs, describe_model(module))
    identity = {
        "teacher": source,
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "images": len(find_images(Path(images))),
    }
    before = _read_state(folder, identity) if resume else {}
    labelled = None if train is None else read_labelled(train, test, seed=configs[0].seed)
    state: dict[str, Any] = {"identity": identity, "teacher": before.get("teacher"), "rows": []}
    known = {row["run"]: row for row in before.get("rows", ())}
    for run in runs:
        _check_finished(folder / run.name, run)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, state)
    if labelled is not None and state["teacher"] is None:
        state["teacher"] = _probe(module, labelled, configs[0])
    rows: list[SweepRow] = []
    for number, run in enumerate(runs, start=1):
        report = _finished_report(folder / run.name)
        student: nn.Module | Path = folder / run.name / "student"
        if report is None:
            if on_run is not None:
                on_run(run, number, len(runs))
            result = distill(
                module,
                images,
                out=folder / run.name,
                config=run.config,
                resume=True,
                on_progress=on_progress,
            )
            report, student = result.report, result.student
        row = _row(run, report)
        scores = known.get(run.name, {})
        if labelled is not None and scores.get("accuracy") is None and scores.get("mean_auc") is None:
            scores = _probe(student, labelled, run.config)
        rows.append(_with_scores(row, scores))
        state["rows"] = [each.to_dict() for each in rows]
        _write(folder, state)
    return SweepResult(tuple(rows), state["teacher"], folder)


def to_csv(rows: Sequence[SweepRow]) -> str:
    """The table, a line a run, an option that varies a column."""
    flat = []
    for row in rows:
        values = asdict(row)
        low, high = values.pop("confidence_interval") or (None, None)
        varied = values.pop("varied")
        flat.append({**values, "confidence_low": low, "confidence_high": high, **varied})
    buffer = io.StringIO()
    if flat:
        writer = csv.DictWriter(buffer, list(flat[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    return buffer.getvalue()


def _load(
    teacher: nn.Module | TeacherSpec | str | Path, configs: Sequence[DistillConfig]
) -> tuple[nn.Module, str]:
    if isinstance(teacher, nn.Module):
        return teacher, architecture_name(teacher)
    spec = teacher if isinstance(teacher, TeacherSpec) else TeacherSpec(str(teacher))
    return load_teacher(replace(spec, image_size=configs[0].image_size or spec.image_size)), spec.source


def _read_state(folder: Path, identity: Mapping[str, object]) -> dict[str, Any]:
    file = folder / "sweep.json"
    if not file.exists():
        return {}
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        stored = dict(state["identity"])
    except (ValueError, KeyError, TypeError) as error:
        raise NoRun(str(folder)) from error
    _compare(stored, identity)
    return dict(state)


def _check_finished(folder: Path, run: PlannedRun) -> None:
    """Refuse a finished run of this name that had other settings."""
    report = _finished_report(folder)
    if report is None:
        return
    wanted = run.config.model_dump(mode="json", exclude=set(_FREE))
    stored = dict(report.get("config", {}))
    _compare({name: stored.get(name) for name in wanted}, wanted)


def _compare(stored: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    differences = [
        f"{name} was {stored.get(name)!r} and is {value!r}"
        for name, value in wanted.items()
        if stored.get(name) != value
    ]
    if differences:
        raise CheckpointMismatch(differences)


def _finished_report(folder: Path) -> dict[str, Any] | None:
    """The report of a finished run; it is the last that a run writes."""
    file = folder / "report.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _probe(model: nn.Module | Path, labelled: LabelledSet, config: DistillConfig) -> dict[str, Any]:
    return linear_probe(model, labelled, device=config.device, seed=config.seed).to_dict()


def _row(run: PlannedRun, report: Mapping[str, Any]) -> SweepRow:
    student, training = report["student"], report["training"]
    return SweepRow(
        run=run.name,
        r=run.config.compression_factor,
        k=run.lora_rank,
        varied=run.varied,
        blocks=len(student["blocks"]),
        parameters=student["parameters"],
        trainable_parameters=student["trainable_parameters"],
        gmacs=student["gmacs"],
        gmacs_unmerged=student.get("gmacs_unmerged"),
        final_loss=training["final_loss"],
        seconds=training.get("total_seconds"),
    )


def _with_scores(row: SweepRow, scores: Mapping[str, Any]) -> SweepRow:
    interval = scores.get("confidence_interval")
    return replace(
        row,
        accuracy=scores.get("accuracy"),
        mean_auc=scores.get("mean_auc"),
        confidence_interval=(float(interval[0]), float(interval[1])) if interval else None,
    )


def _write(folder: Path, state: Mapping[str, Any]) -> None:
    """Both tables, each whole or not at all."""
    rows = [SweepRow(**row) for row in state["rows"]]
    for name, content in (("sweep.json", json.dumps(state, indent=2) + "\n"), ("sweep.csv", to_csv(rows))):
        partial = folder / f".{name}.partial"
        partial.write_text(content, encoding="utf-8")
        partial.replace(folder / name)
