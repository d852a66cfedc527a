"""Write a student as ONNX, for runtimes without torch: images in, what the timm model answers out."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from wecolora.errors import OnnxFailed
from wecolora.teachers import image_size_of, preprocessing_of

INPUT, OUTPUT = "images", "output"
MOST_BYTES = 2**31 - 2**20
"""A protobuf, which an ONNX file is, holds no more than 2 GiB."""


def export_onnx(student: nn.Module, file: Path, facts: Mapping[str, object] | None = None) -> Path:
    """Write one ``.onnx`` file: input ``images`` (N, 3, S, S) in float32, output ``output``; N is free.

    The images are normalised outside, as timm does it; ``mean``, ``std`` and ``image_size`` are in the file's metadata.

    Args:
        student: merged, on the CPU, in float32; it is left in eval mode.
        file: to write; it appears whole or not at all.
        facts: further metadata.

    Returns:
        The file.

    Raises:
        OnnxFailed: the model is too large for one file, or has what the exporter cannot express.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in student.state_dict().values())
    if weights > MOST_BYTES:
        raise OnnxFailed(f"its weights take {weights / 2**30:.1f} GiB, and one ONNX file holds 2")
    side, preprocessing = image_size_of(student), preprocessing_of(student)
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, 3, side, side)
    try:
        with _in_silence():
            program = torch.onnx.export(
                student.eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise OnnxFailed(str(error).splitlines()[0]) from error
    assert program is not None
    told = {"image_size": side, "mean": preprocessing.mean, "std": preprocessing.std, **(facts or {})}
    program.model.metadata_props.update({name: str(value) for name, value in told.items()})
    partial = file.with_name(f".{file.name}.partial")
    program.save(partial, external_data=False)
    partial.replace(file)
    return file


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """The exporter tells of its steps and of what it will deprecate; an error says all that is of use."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
