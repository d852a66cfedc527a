"""All pictures of a finished run, and its page: what ``wecolora report`` and the service call."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from torch import nn

from wecolora.cost import inspect_models
from wecolora.devices import resolve_device
from wecolora.errors import AttentionUnavailable, NoRun
from wecolora.evaluation.comparison import evaluate
from wecolora.evaluation.features import extract_features
from wecolora.evaluation.labelled import LabelledImages, LabelledSet
from wecolora.evaluation.readers import read_labelled
from wecolora.images import decode
from wecolora.methods.multiplexing import is_multiplexed
from wecolora.pictures.attention import draw_attention, make_attention
from wecolora.pictures.curves import draw_curves, read_curves
from wecolora.pictures.figures import LIGHT, write_bytes
from wecolora.pictures.page import LeftOut, Picture, render_page
from wecolora.pictures.sheets import Sheet, make_sheet
from wecolora.pictures.tsne import MOST_POINTS, draw_maps, make_maps
from wecolora.students import load_student, student_line
from wecolora.teachers import TeacherSpec, load_teacher
from wecolora.throughput import DEFAULT_BATCH_SIZES

_THUMBNAIL_PIXELS = 48
_MOST_VIEW_PIXELS = 336  # larger views would be bytes that no page shows
_SEVERAL, _NONE = "several labels", "no label"


@dataclass(frozen=True)
class PageInputs:
    """What a page may be made from beside the run's own folder; each part brings something to the page.

    Attributes:
        teacher: to show beside the student, and to measure both at several batch sizes.
        train: labelled images to fit the probes on (see `read_labelled`).
        test: labelled images for the probes' scores and the latent spaces; None takes the test part of ``train``.
        labelled: read already, instead of both; for the latent spaces alone, no probe is fitted.
        images: files to draw attention over.
        batch_sizes: to measure throughput and memory at; empty leaves that out.
        most_points: test images in the latent spaces, at most; more are chosen from at random.
        device: to compute on.
        seed: of splits and of t-SNE.
    """

    teacher: TeacherSpec | None = None
    train: Path | None = None
    test: Path | None = None
    labelled: LabelledSet | None = None
    images: tuple[Path, ...] = ()
    batch_sizes: tuple[int, ...] = DEFAULT_BATCH_SIZES
    most_points: int = MOST_POINTS
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class WrittenPage:
    """What was written.

    Attributes:
        page: ``report.html``.
        files: under ``pictures/``: a PNG and a JSON file of each picture, a JPEG of the images that it shows, and the
            measurements made for the page.
        left_out: parts that the page lacks, and what would bring them.
    """

    page: Path
    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


@dataclass
class _Collected:
    """The page as it grows."""

    folder: Path
    report: dict[str, Any]
    pictures: list[Picture] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def add_data(self, key: str, content: object) -> None:
        path = self.folder / f"{key}.json"
        self.files.append(write_bytes(json.dumps(content).encode(), path))

    def add_picture(
        self, picture: Picture, content: Mapping[str, object], sheet: Sheet | None = None
    ) -> None:
        self.pictures.append(picture)
        self.files.append(write_bytes(picture.png(LIGHT), self.folder / f"{picture.key}.png"))
        if sheet is not None:
            self.files.append(write_bytes(sheet.content, self.folder / sheet.file))
            content = {**content, "sheet": sheet.to_dict()}
        self.add_data(picture.key, content)

    def leave_out(self, part: str, remedy: str) -> None:
        self.left_out.append(LeftOut(part, remedy))


def read_report(run_folder: Path | str) -> dict[str, Any]:
    """Content of a finished run's ``report.json``.

    Raises:
        NoRun: there is none, or it cannot be read.
    """
    file = Path(run_folder) / "report.json"
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoRun(str(run_folder)) from error
    if not isinstance(report, dict):
        raise NoRun(str(run_folder))
    return report


def write_report_page(run_folder: Path | str, inputs: PageInputs | None = None) -> WrittenPage:
    """Write ``report.html`` and ``pictures/`` into a run's folder.

    Args:
        run_folder: ``--out`` of ``wecolora distill``.
        inputs: what else the page is made from.

    Raises:
        NoRun: the folder holds no finished run.
        WecoloraError: a teacher, labelled set or image that was given cannot be used; the page is not written then.
    """
    run, given = Path(run_folder), inputs or PageInputs()
    collected = _Collected(run / "pictures", read_report(run))
    _add_curves(collected, run)
    models = _load_models(collected, run, given)
    _add_costs(collected, run, given, models)
    _add_latent_spaces(collected, given, models)
    _add_attention(collected, given, models)
    page = render_page(
        collected.report,
        collected.pictures,
        collected.left_out,
        load=student_line("student") if is_multiplexed(run / "student") else None,
    )
    path = write_bytes(page.encode("utf-8"), run / "report.html")
    return WrittenPage(path, tuple(collected.files), tuple(collected.left_out))


def _add_curves(collected: _Collected, run: Path) -> None:
    if not (run / "metrics.jsonl").is_file():
        collected.leave_out("training curves", "the run's folder has no metrics.jsonl.")
        return
    curves = read_curves(run / "metrics.jsonl")
    if not curves.steps:
        collected.leave_out("training curves", "this run trained nothing.")
        return
    picture = Picture(
        "training",
        "Training",
        "Loss and learning rate of each optimiser step. The running mean is over a twentieth of the run.",
        f"Loss from {curves.losses[0]:.4g} to {curves.losses[-1]:.4g} over {len(curves.steps)} optimiser steps.",
        partial(draw_curves, curves),
    )
    collected.add_picture(picture, curves.to_dict())


def _load_models(collected: _Collected, run: Path, given: PageInputs) -> dict[str, nn.Module]:
    """Teacher, where it was given, and student; nothing where no part needs them."""
    models: dict[str, nn.Module] = {}
    if given.teacher is not None:
        size = collected.report.get("student", {}).get("image_size")
        models["teacher"] = load_teacher(replace(given.teacher, image_size=given.teacher.image_size or size))
    else:
        collected.leave_out(
            "the teacher beside the student, throughput and memory", "name the teacher (--teacher)."
        )
    if models or given.train or given.test or given.labelled or given.images:
        models["student"] = load_student(run / "student")
    return models


def _add_costs(collected: _Collected, run: Path, given: PageInputs, models: Mapping[str, nn.Module]) -> None:
    report = collected.report
    if "teacher" not in models or not given.batch_sizes:
        return
    assert given.teacher is not None
    spec = replace(given.teacher, image_size=report.get("student", {}).get("image_size"))
    # A folder that timm loads can be measured for memory in a process of its own.
    student = models["student"] if is_multiplexed(run / "student") else run / "student"
    costs = inspect_models([spec, student], given.device, batch_sizes=given.batch_sizes)
    for name, cost in zip(("teacher", "student"), costs, strict=True):
        # Timings of one sitting belong together, so those of the run's end are replaced as well.
        measured = cost.to_dict()
        report[name] = {
            **report.get(name, {}),
            **{key: measured[key] for key in ("latency_ms", "device", "batches")},
        }
    collected.add_data("cost", {"teacher": costs[0].to_dict(), "student": costs[1].to_dict()})


def _add_latent_spaces(collected: _Collected, given: PageInputs, models: Mapping[str, nn.Module]) -> None:
    labelled = given.labelled or _read_labelled(collected, given, models)
    if labelled is None:
        return
    part = _choice(labelled, given)
    labels, classes = _single_labels(part)
    maps = make_maps(
        {name: extract_features(model, part.images, given.device) for name, model in models.items()},
        labels,
        classes,
        _names(part),
        given.seed,
    )
    shown = (
        f"{len(maps.files):,} of {len(labelled.test):,}"
        if len(part) < len(labelled.test)
        else f"{len(part):,}"
    )
    picture = Picture(
        "tsne",
        "Latent spaces",
        f"t-SNE of the features of {shown} test images, before any classifier; colours and marks are classes. Every "
        f"map is made with the same perplexity ({maps.perplexity:.3g}) and seed. Only nearness has a meaning.",
        f"Maps of {len(maps.files)} test images of {len(classes)} classes by {' and '.join(maps.models)}.",
        partial(draw_maps, maps),
    )
    thumbnails = make_sheet("tsne.jpg", _small_images(part), len(part), _THUMBNAIL_PIXELS)
    collected.add_picture(picture, maps.to_dict() | {"images_found": len(labelled.test)}, thumbnails)


def _read_labelled(
    collected: _Collected, given: PageInputs, models: Mapping[str, nn.Module]
) -> LabelledSet | None:
    """The labelled images, once probes were fitted on them; None where there are none."""
    source = given.train or given.test
    if source is None:
        collected.leave_out("latent spaces", "give labelled images (--test or --train; a job's probe).")
        collected.leave_out("accuracy of probes", "give labelled images (--train and --test; a job's probe).")
        return None
    labelled = read_labelled(source, given.test, seed=given.seed)
    if given.train is None:
        collected.leave_out("accuracy of probes", "give labelled images to fit them on (--train).")
        return labelled
    evaluation = evaluate(models, labelled, device=given.device, seed=given.seed).to_dict()
    collected.report["evaluation"] = evaluation
    collected.add_data("evaluation", evaluation)
    return labelled


def _choice(labelled: LabelledSet, given: PageInputs) -> LabelledImages:
    """The test part, or a random choice of as many images as are wanted, before features are computed."""
    total, most = len(labelled.test), min(given.most_points, MOST_POINTS)
    if total <= most:
        return labelled.test
    return labelled.test.take(np.sort(np.random.default_rng(given.seed).permutation(total)[:most]))


def _single_labels(part: LabelledImages) -> tuple[np.ndarray, tuple[str, ...]]:
    """One class an image; where there may be any number of labels, images with several or none are classes too."""
    if not part.multi_label:
        return part.labels, part.classes
    count = part.labels.sum(axis=1)
    numbers = part.labels.argmax(axis=1)
    numbers[count > 1] = len(part.classes)
    numbers[count == 0] = len(part.classes) + 1
    return numbers, (*part.classes, _SEVERAL, _NONE)


def _small_images(part: LabelledImages) -> Iterator[PILImage.Image]:
    """Every image, no larger than a thumbnail needs."""
    for each in part.images:
        yield decode(each, _THUMBNAIL_PIXELS) if isinstance(each, Path) else PILImage.fromarray(each)


def _names(part: LabelledImages) -> list[str]:
    return [
        _name(each, Path(part.source)) if isinstance(each, Path) else f"image {index}"
        for index, each in enumerate(part.images)
    ]


def _name(path: Path, root: Path) -> str:
    """A file's path in its set; machine paths are nobody's business."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else "/".join(path.parts[-2:])


def _add_attention(collected: _Collected, given: PageInputs, models: Mapping[str, nn.Module]) -> None:
    if not given.images:
        collected.leave_out("attention", "give a few images (--images).")
        return
    try:
        maps = make_attention(models, given.images, _short_names(given.images), resolve_device(given.device))
    except AttentionUnavailable as error:
        # A matter of the architecture, not of what was given: the rest of the page is wanted all the same.
        collected.leave_out("attention", str(error))
        return
    picture = Picture(
        "attention",
        "Attention",
        "Attention rollout on what the models see of each image: heads fused by their maximum, the lowest "
        f"{maps.discard:.0%} set to zero, skip connections added, multiplied over the blocks; shown for the "
        f"{' and the '.join(dict.fromkeys(maps.readouts))}. Bright is where it looks; each map by its own scale.",
        f"What {' and '.join(maps.models)} attend to in {len(maps.files)} images.",
        partial(draw_attention, maps),
    )
    side = min(maps.views[0].shape[0], _MOST_VIEW_PIXELS)
    views = make_sheet("attention.jpg", map(PILImage.fromarray, maps.views), len(maps.views), side)
    collected.add_picture(picture, maps.to_dict(), views)


def _short_names(paths: Sequence[Path]) -> list[str]:
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else ["/".join(path.parts[-2:]) for path in paths]
