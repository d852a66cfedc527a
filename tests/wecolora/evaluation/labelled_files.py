"""Labelled images for the readers, and what was read of them."""

import numpy as np
from PIL import Image


def picture(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "JPEG" if path.suffix.lower() in {".jpg", ".jpeg"} else "PNG"
    Image.new("RGB", (8, 8), (shade, 255 - shade, 128)).save(path, kind)


def named(part):
    """{file name: class}, or {file name: {classes}}."""
    rows = [
        {part.classes[i] for i in np.flatnonzero(row)} if part.multi_label else part.classes[row]
        for row in part.labels
    ]
    return {path.name: row for path, row in zip(part.images, rows, strict=True)}
