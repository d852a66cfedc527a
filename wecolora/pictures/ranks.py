"""Accuracy against rank, from a sweep's ``sweep.json`` (paper, Figure on the rank)."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from wecolora.errors import NoRun
from wecolora.pictures.curves import RankPoint, draw_ranks
from wecolora.pictures.figures import write_bytes, write_png

# Shown in this order of preference: what the labels tell, else what the training told.
_VALUES = (
    ("accuracy", "probe accuracy, %"),
    ("mean_auc", "mean AUC of the probe, %"),
    ("final_loss", "loss of the last epoch"),
)


def write_rank_picture(sweep_folder: Path | str) -> list[Path]:
    """Write ``ranks.png`` and ``ranks.json`` into a sweep's folder.

    Returns:
        The files; none where no run has anything to show.

    Raises:
        NoRun: the folder holds no sweep.
    """
    folder = Path(sweep_folder)
    try:
        state = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        rows = list(state["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoRun(str(folder)) from error
    for key, name in _VALUES:
        points = [_point(row, key) for row in rows if row.get(key) is not None]
        if points:
            value = (state.get("teacher") or {}).get(key)
            references = {} if value is None else {"teacher": float(value)}
            draw = partial(draw_ranks, points, value_name=name, references=references)
            content = {"value": name, "points": [asdict(point) for point in points], "references": references}
            return [
                write_png(draw, folder / "ranks.png"),
                write_bytes(json.dumps(content).encode(), folder / "ranks.json"),
            ]
    return []


def _point(row: dict[str, Any], key: str) -> RankPoint:
    more = "".join(f", {name} {value}" for name, value in row["varied"].items())
    low, high = row.get("confidence_interval") or (None, None)
    if key == "final_loss":
        low = high = None
    return RankPoint(f"r = {row['r']}{more}", int(row["k"]), float(row[key]), low, high)
