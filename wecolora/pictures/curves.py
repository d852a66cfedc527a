"""Curves: loss and learning rate over a run, accuracy against rank over a sweep."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes._secondary_axes import SecondaryAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from wecolora.errors import NoRun
from wecolora.pictures.figures import Theme, new_figure, style_axes

_LEAST_TO_SMOOTH = 30


@dataclass(frozen=True)
class TrainingCurves:
    """What ``metrics.jsonl`` holds, by optimiser step.

    Attributes:
        steps: numbers of the steps, from 1.
        epochs: that each step belongs to, from 0.
        losses: of each step; the method's own unit (mean absolute difference of tokens for `feature_l1`).
        learning_rates: of each step.
    """

    steps: tuple[int, ...]
    epochs: tuple[int, ...]
    losses: tuple[float, ...]
    learning_rates: tuple[float, ...]

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {name: list(values) for name, values in asdict(self).items()}


def read_curves(file: Path) -> TrainingCurves:
    """Read ``metrics.jsonl``; a last line that a stopped run left half written is ignored.

    Raises:
        NoRun: there is no such file.
    """
    if not file.is_file():
        raise NoRun(str(file.parent))
    records = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            records.append(
                (int(record["step"]), int(record.get("epoch", 0)), float(record["loss"]),
                 float(record["learning_rate"]))
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            continue
    if not records:
        return TrainingCurves((), (), (), ())
    steps, epochs, losses, rates = zip(*records, strict=True)
    return TrainingCurves(steps, epochs, losses, rates)


def draw_curves(curves: TrainingCurves, theme: Theme) -> Figure:
    """Draw the loss above the learning rate, over the same steps."""
    figure = new_figure(7.2, 4.6, theme)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    for axes in (above, below):
        style_axes(axes, theme)
    mark = "o" if len(curves.steps) == 1 else None
    smooth = smoothed(curves.losses)
    if smooth is None:
        above.plot(curves.steps, curves.losses, color=theme.lines[0], linewidth=1.8, marker=mark)
    else:
        above.plot(
            curves.steps, curves.losses, color=theme.lines[0], linewidth=0.8, alpha=0.4, label="each step"
        )
        above.plot(curves.steps, smooth, color=theme.lines[0], linewidth=2, label="running mean")
        above.legend(frameon=False, fontsize=9, labelcolor=theme.ink, loc="upper right")
    above.set_ylabel("loss")
    below.plot(curves.steps, curves.learning_rates, color=theme.lines[1], linewidth=1.8, marker=mark)
    below.set_ylabel("learning rate")
    below.set_ylim(bottom=0)
    below.set_xlabel("optimiser step")
    if len(set(curves.epochs)) > 1:
        total = max(curves.epochs) + 1
        pace = max(curves.steps) / total
        ends = above.secondary_xaxis("top", functions=(lambda step: step / pace, lambda epoch: epoch * pace))
        _mark_epochs(ends, total, theme)
    return figure


def smoothed(losses: Sequence[float]) -> NDArray[np.floating] | None:
    """Mean over a window of a twentieth of the run, narrower at its ends; None when there are few steps."""
    if len(losses) < _LEAST_TO_SMOOTH:
        return None
    reach = max(1, len(losses) // 40)
    sums = np.concatenate(([0.0], np.cumsum(losses)))
    index = np.arange(len(losses))
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(losses))
    means: NDArray[np.floating] = (sums[last] - sums[first]) / (last - first)
    return means


def _mark_epochs(axes: SecondaryAxis, epochs: int, theme: Theme) -> None:
    every = max(1, math.ceil(epochs / 10))
    axes.xaxis.set_major_locator(FixedLocator(list(range(every, epochs + 1, every))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(colors=theme.faint, labelsize=8)
    axes.set_xlabel("end of epoch", color=theme.faint, fontsize=9)
    axes.spines["top"].set_visible(False)


@dataclass(frozen=True)
class RankPoint:
    """One run of a sweep.

    Attributes:
        series: what it shares with the runs of other ranks: ``r = 2``.
        lora_rank: k.
        value: accuracy, 0 … 1, or final loss.
        low: lower end of the value's interval; None without.
        high: upper end.
    """

    series: str
    lora_rank: int
    value: float
    low: float | None = None
    high: float | None = None


def draw_ranks(
    points: Sequence[RankPoint], theme: Theme, value_name: str, references: Mapping[str, float] | None = None
) -> Figure:
    """Draw a line a series over the rank, the axis in powers of two.

    Args:
        points: of a sweep.
        theme: its colours.
        value_name: of the vertical axis; one that ends in "%" is given in shares of 1.
        references: horizontal lines by name: the teacher's value, say.
    """
    figure = new_figure(6.4, 4.2, theme)
    axes = figure.subplots()
    style_axes(axes, theme)
    factor = 100 if value_name.endswith("%") else 1
    marks = ("o", "s", "^", "D", "v", "P")
    names = list(dict.fromkeys(point.series for point in points))
    for number, series in enumerate(names):
        members = sorted((p for p in points if p.series == series), key=lambda point: point.lora_rank)
        values = [factor * point.value for point in members]
        reach = [
            [factor * (p.value - (p.value if p.low is None else p.low)) for p in members],
            [factor * ((p.value if p.high is None else p.high) - p.value) for p in members],
        ]
        axes.errorbar(
            # A little beside each other, so that intervals do not hide one another.
            [point.lora_rank * 2 ** (0.05 * (number - (len(names) - 1) / 2)) for point in members],
            values,
            yerr=reach if any(map(any, reach)) else None,
            color=theme.lines[number % len(theme.lines)],
            marker=marks[number % len(marks)],
            markersize=6,
            linewidth=1.8,
            elinewidth=1,
            capsize=3,
            label=series,
        )
    for name, value in (references or {}).items():
        axes.axhline(factor * value, color=theme.faint, linewidth=1.4, linestyle=(0, (5, 3)), label=name)
    axes.set_xscale("log", base=2)
    ranks = sorted({point.lora_rank for point in points})
    axes.xaxis.set_major_locator(FixedLocator(ranks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(rank) for rank in ranks])
    axes.set_xlabel("LoRA rank k")
    axes.set_ylabel(value_name)
    axes.legend(frameon=False, fontsize=9, labelcolor=theme.ink)
    return figure
