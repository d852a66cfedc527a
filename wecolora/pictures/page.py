"""``report.html``: one file that shows a run, without scripts and without requests to anywhere.

The report is read with care for what is not there: reports of older runs, of other methods, or of a run without an
evaluation give a page without those parts.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from wecolora.pictures.figures import DARK, LIGHT, Drawing, Theme, to_png

_MISSING = "–"
_MOST_SKIPPED = 200


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        key: name of its files, ``tsne``.
        title: its heading.
        caption: what it shows and how it was made.
        alternative: what it shows, for those who cannot see it.
        draw: draws it in a theme.
    """

    key: str
    title: str
    caption: str
    alternative: str
    draw: Drawing
    _drawn: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def png(self, theme: Theme) -> bytes:
        """The picture in a theme as a PNG file; drawn once, since drawing takes longer than many a student's making."""
        if theme.name not in self._drawn:
            self._drawn[theme.name] = to_png(self.draw(theme))
        return self._drawn[theme.name]


@dataclass(frozen=True)
class LeftOut:
    """A part that the page lacks.

    Attributes:
        part: its name.
        remedy: what would bring it.
    """

    part: str
    remedy: str


def render_page(
    report: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    left_out: Sequence[LeftOut] = (),
    load: str | None = None,
) -> str:
    """The whole page.

    Args:
        report: content of ``report.json``, perhaps with ``probe``, ``evaluation`` and ``batches`` added.
        pictures: in the order in which they are shown.
        left_out: to name at the end.
        load: line of Python that loads the student; the report's own by default.
    """
    teacher, student = _part(report, "teacher"), _part(report, "student")
    skipped = list(_part(report, "images").get("skipped") or ())
    blocks = [int(index) for index in student.get("blocks") or ()]
    return _template().render(
        title=_title(teacher, student),
        method=str(report.get("method", "wecolora")),
        recipe=_recipe(report),
        highlights=_highlights(report, teacher, student),
        blocks=[{"number": n, "kept": n in blocks} for n in range(int(teacher.get("depth") or 0))],
        kept=len(blocks),
        facts=_facts(report, student),
        costs=_cost_rows(teacher, student) + _score_rows(report),
        batches=_batch_rows(teacher, student),
        device=str(teacher.get("device") or student.get("device") or ""),
        pictures=[
            {
                "key": picture.key,
                "title": picture.title,
                "caption": picture.caption,
                "alternative": picture.alternative,
                "light": _data_uri(picture.png(LIGHT)),
                "dark": _data_uri(picture.png(DARK)),
            }
            for picture in pictures
        ],
        found=_value(_part(report, "images").get("found", "the")),
        skipped=[
            (str(each.get("path", "")), str(each.get("reason", ""))) for each in skipped[:_MOST_SKIPPED]
        ],
        skipped_count=len(skipped),
        settings=[(name, _value(value)) for name, value in _part(report, "config").items()],
        load=load or str(report.get("load", "")),
        versions=[(name, str(value)) for name, value in _part(report, "versions").items()],
        left_out=left_out,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("wecolora.pictures", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stylesheet = files("wecolora.pictures").joinpath("report.css").read_text(encoding="utf-8")
    environment.globals["stylesheet"] = Markup(stylesheet)
    return environment.get_template("report.html")


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = report.get(name)
    return part if isinstance(part, Mapping) else {}


def _title(teacher: Mapping[str, Any], student: Mapping[str, Any]) -> str:
    name = student.get("architecture") or teacher.get("architecture") or "Student"
    depths = [model.get("depth") for model in (teacher, student)]
    return f"{name}: {depths[0]} → {depths[1]} blocks" if all(depths) else str(name)


def _recipe(report: Mapping[str, Any]) -> str:
    recipe = report.get("recipe")
    if isinstance(recipe, Mapping):
        changed = ", ".join(str(name) for name in recipe.get("changed") or ())
        name = str(recipe.get("name") or "")
        return f"{name}, with other {changed}" if changed else name
    return str(recipe or "")


def _highlights(
    report: Mapping[str, Any], teacher: Mapping[str, Any], student: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The few numbers that a reader looks for first."""
    found = []
    if share := _ratio(student.get("parameters"), teacher.get("parameters")):
        found.append((f"{share:.0%}", "of the teacher's parameters"))
    if speed := _ratio(teacher.get("latency_ms"), student.get("latency_ms")):
        found.append((f"{speed:.1f}×", "as fast, one image at a time"))
    for score in _scores(report)[:1]:
        beside = "" if score.teacher is None else f"; the teacher's is {_percent(score.teacher)}"
        found.append((_percent(score.student), f"{score.name}{beside}"))
    used = _part(report, "images").get("used")
    if used is not None:
        found.append((f"{used:,}", "unlabelled images"))
    return found


def _facts(report: Mapping[str, Any], student: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the student was made, in the words of the paper."""
    training, config = _part(report, "training"), _part(report, "config")
    rows = [
        ("depth reduction r", config.get("compression_factor")),
        ("LoRA rank k", student.get("lora_rank")),
        ("images used", _part(report, "images").get("used")),
        ("images found", _part(report, "images").get("found")),
        ("epochs", training.get("epochs")),
        ("optimiser steps", training.get("optimiser_steps")),
        ("images a step", training.get("images_per_step")),
        ("peak learning rate", training.get("peak_learning_rate")),
        ("loss, first step", training.get("initial_loss")),
        ("loss, last epoch", training.get("final_loss")),
        ("device and precision", _joined(training.get("device"), training.get("precision"))),
        ("seconds", training.get("total_seconds")),
        ("seed", config.get("seed")),
    ]
    return [(name, _value(value)) for name, value in rows if value is not None]


def _cost_rows(teacher: Mapping[str, Any], student: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = [
        _compared("blocks", teacher, student, "depth", "{:,}"),
        _compared("parameters", teacher, student, "parameters", "{:,}"),
        ("trainable in distillation", _MISSING, _number(student.get("trainable_parameters"), "{:,}"), ""),
        ("GMACs in training", _MISSING, _number(student.get("gmacs_unmerged"), "{:.3f}"), ""),
        _compared("GMACs after merging", teacher, student, "gmacs", "{:.3f}"),
        _compared("latency of one image, ms", teacher, student, "latency_ms", "{:.1f}"),
        _compared("file, MB", teacher, student, "file_size_bytes", "{:.1f}", 1e-6),
    ]
    return [row for row in rows if {row[1], row[2]} != {_MISSING}]


def _compared(
    name: str,
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    key: str,
    form: str,
    factor: float = 1,
) -> tuple[str, str, str, str]:
    ratio = _ratio(student.get(key), teacher.get(key))
    return (
        name,
        _number(teacher.get(key), form, factor),
        _number(student.get(key), form, factor),
        "" if ratio is None else f"{ratio:.2f}×",
    )


def _batch_rows(teacher: Mapping[str, Any], student: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Batch size; images/s of teacher and student and their ratio; peak memory likewise."""
    by_size: dict[int, list[Mapping[str, Any]]] = {}
    for column, model in enumerate((teacher, student)):
        for batch in model.get("batches") or ():
            by_size.setdefault(int(batch["batch_size"]), [{}, {}])[column] = batch
    rows: list[tuple[str, ...]] = []
    for size, (first, second) in sorted(by_size.items()):
        speed = _compared("", first, second, "images_per_second", "{:,.1f}")
        memory = _compared("", first, second, "peak_memory_bytes", "{:,.0f}", 1e-6)
        rows.append((str(size), *speed[1:], *memory[1:]))
    return rows


@dataclass(frozen=True)
class _Score:
    """One score of both models, 0 … 1, with the intervals of the results that it comes from."""

    name: str
    teacher: float | None
    student: float
    teacher_interval: str
    student_interval: str


def _score_rows(report: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for score in _scores(report):
        teacher, difference = _MISSING, ""
        if score.teacher is not None:
            teacher = _percent(score.teacher) + score.teacher_interval
            difference = f"{100 * (score.student - score.teacher):+.1f} points".replace("-", "\N{MINUS SIGN}")
        rows.append((score.name, teacher, _percent(score.student) + score.student_interval, difference))
    return rows


def _scores(report: Mapping[str, Any]) -> list[_Score]:
    """Every score that a probe of the report gave the student."""
    found = []
    for name, teacher, student in _probes(report):
        for key, unit in (("accuracy", "accuracy"), ("top5", "top-5 accuracy"), ("mean_auc", "mean AUC")):
            if isinstance(student.get(key), int | float):
                # The interval is that of the headline, not of the top five.
                intervals = ["" if key == "top5" else _interval(model) for model in (teacher, student)]
                found.append(_Score(f"{name} {unit}", teacher.get(key), student[key], *intervals))
    return found


def _probes(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Every protocol by which both models were judged: its name, and the results of teacher and student."""
    probe = _part(report, "probe")
    found = []
    if isinstance(probe.get("student"), Mapping):
        found.append(("probe", _part(probe, "teacher"), _part(probe, "student")))
    results = _part(_part(report, "evaluation"), "results")
    own, first = _part(results, "student"), _part(results, "teacher")
    for protocol, result in own.items():
        if isinstance(result, Mapping):
            found.append(
                (f"{protocol} probe" if protocol != "knn" else "k-NN", _part(first, protocol), result)
            )
    return found


def _interval(result: Mapping[str, Any]) -> str:
    ends = result.get("confidence_interval")
    if not isinstance(ends, Sequence) or len(ends) != 2:
        return ""
    return f" ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _ratio(first: Any, second: Any) -> float | None:
    if not isinstance(first, int | float) or not isinstance(second, int | float) or not first or not second:
        return None
    return first / second


def _number(value: Any, form: str, factor: float = 1) -> str:
    if not isinstance(value, int | float):
        return _MISSING
    return form.format(value if factor == 1 else value * factor)


def _value(value: Any) -> str:
    if value is None:
        return "by default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if value < 10**12 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(_value(each) for each in value)
    return str(value)


def _joined(*values: Any) -> str | None:
    return ", ".join(str(value) for value in values if value) or None


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
