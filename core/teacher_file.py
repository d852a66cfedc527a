"""Reads the header of an uploaded safetensors file with the standard library only.

The format: 8 bytes little-endian length, that many bytes of JSON, then the tensors' bytes back to back.
Everything in it is a claim by a stranger, so each number is checked against the file before it is believed.
The values (NaN, infinity) are not read here: the worker checks them when it loads the teacher.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any, Final

from core.catalogue import Architecture
from core.errors import InvalidTeacherFile

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
"""Real headers are below 1 MB; one at the format's own limit of 100 MB costs gigabytes to parse."""

DTYPE_BITS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64"), 64),
}
FLOATS: Final = frozenset({"F16", "BF16", "F32", "F64"})
MAX_DIMENSIONS: Final = 16
WAY_OUT: Final = "convert it with safetensors.torch.save_file(model.state_dict(), 'teacher.safetensors')"
_BLOCK = re.compile(r"(?:blocks|layer(\d+))\.(\d+|\{i\})\.")
_MOST_DIGITS = 9
# A batch norm's, which no training step changes.
_BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")
# These follow the image size or the labels of the pretraining, not the architecture.
_FREE_SHAPE = re.compile(r"(^|\.)(pos_embed|head(_dist)?\.|fc\.|fc_norm\.|rel_pos|relative_position)")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class TeacherShape:
    """What the tensors tell about the model."""

    depth: int
    embed_dim: int
    parameters: int
    image_size: int | None
    num_classes: int | None


def read_header(file: IO[bytes], size_bytes: int) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file, every claim checked.

    Raises:
        InvalidTeacherFile: says what is wrong and names the tensor.
    """
    file.seek(0)
    start = file.read(9)
    if len(start) < 9 or start[8:9] != b"{":
        raise InvalidTeacherFile(_foreign_format(start))
    header_bytes = int.from_bytes(start[:8], "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise InvalidTeacherFile(
            f"The header claims {header_bytes:,} bytes; at most {MAX_HEADER_BYTES:,} are read."
        )
    if header_bytes > size_bytes - 8:
        raise InvalidTeacherFile(f"The file is truncated: its header alone has {header_bytes:,} bytes.")
    file.seek(8)
    header = _parse_json(file.read(header_bytes))
    header.pop("__metadata__", None)
    data_bytes = size_bytes - 8 - header_bytes
    tensors = {name: _tensor(name, entry, data_bytes) for name, entry in header.items()}
    if not tensors:
        raise InvalidTeacherFile("The file holds no tensors.")
    _check_layout(tensors, data_bytes)
    return tensors


def _foreign_format(start: bytes) -> str:
    if start.startswith(b"PK\x03\x04") or start[:1] == b"\x80":
        return f"This is a pickle (.pt, .pth, .bin), which can run code when it is opened; {WAY_OUT}."
    if len(start) < 9:
        return "The file is truncated: a safetensors file has at least 9 bytes."
    return f"This is not a safetensors file; {WAY_OUT}."


def _parse_json(raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise InvalidTeacherFile(f"The header names {twice!r} twice.", twice)
        return entries

    try:
        header = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InvalidTeacherFile(f"The header is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise InvalidTeacherFile("The header is not a JSON object.")
    return header


def _tensor(name: str, entry: Any, data_bytes: int) -> TensorInfo:
    def refuse(reason: str) -> InvalidTeacherFile:
        return InvalidTeacherFile(f"Tensor {name!r}: {reason}.", name)

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise refuse("the header must give its dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise refuse(f"unknown dtype {dtype!r}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise refuse("its shape must be a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise refuse("its data_offsets must be two positions")
    start, end = offsets
    if not start <= end <= data_bytes:
        raise refuse(
            f"its bytes {start:,} to {end:,} lie outside the file's {data_bytes:,}; the file may be truncated"
        )
    needed = math.prod(shape) * DTYPE_BITS[dtype] // 8
    if end - start != needed:
        raise refuse(f"{dtype} of shape {shape} takes {needed:,} bytes, its offsets span {end - start:,}")
    return TensorInfo(dtype, tuple(shape), start, end)


def _are_sizes(value: Any) -> bool:
    # bool is an int to Python, and a number beyond 64 bits is no size.
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _check_layout(tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    ordered = sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end))
    for (before, first), (name, second) in pairwise(ordered):
        if second.start < first.end:
            raise InvalidTeacherFile(f"Tensor {name!r} overlaps {before!r}.", name)
        if second.start > first.end:
            raise InvalidTeacherFile(f"There are unnamed bytes before tensor {name!r}.", name)
    first_name, first = ordered[0]
    if first.start != 0:
        raise InvalidTeacherFile(f"There are unnamed bytes before tensor {first_name!r}.", first_name)
    end = ordered[-1][1].end
    if end != data_bytes:
        raise InvalidTeacherFile(f"The tensors end at byte {end:,} but the file has {data_bytes:,}.")


def check_architecture(
    tensors: Mapping[str, TensorInfo], name: str, architecture: Architecture
) -> TeacherShape:
    """Compare the file with the architecture it is said to be.

    Raises:
        InvalidTeacherFile: names the first tensor that is missing or has another shape.
    """
    for tensor, expected in _expected(architecture):
        found = tensors.get(tensor)
        if found is None:
            raise InvalidTeacherFile(_missing(tensor, name, tensors), tensor)
        if found.shape != tuple(expected):
            message = f"Tensor {tensor!r} has shape {list(found.shape)}; {name} has {expected}."
            raise InvalidTeacherFile(message, tensor)
        if found.dtype not in FLOATS:
            raise InvalidTeacherFile(f"Tensor {tensor!r} is {found.dtype}; weights are floats.", tensor)
    beyond = next((tensor for tensor in tensors if _is_beyond(tensor, architecture)), None)
    if beyond:
        depth = " + ".join(map(str, architecture.stages)) or architecture.depth
        message = f"Tensor {beyond!r} belongs to no block of {name}, which has {depth}."
        raise InvalidTeacherFile(message, beyond)
    return TeacherShape(
        depth=architecture.depth,
        embed_dim=architecture.embed_dim,
        parameters=sum(
            math.prod(each.shape) for name, each in tensors.items() if not name.endswith(_BUFFERS)
        ),
        image_size=_image_size(tensors, architecture),
        num_classes=_num_classes(tensors),
    )


def _expected(architecture: Architecture) -> Iterator[tuple[str, list[int]]]:
    for pattern, shape in architecture.tensors.items():
        if _FREE_SHAPE.search(pattern):
            continue
        if "{i}" not in pattern:
            yield pattern, shape
            continue
        # The first block of a stage is unlike the others, and listed by itself.
        for block in range(1 if architecture.stages else 0, _blocks_beside(pattern, architecture)):
            yield pattern.replace("{i}", str(block)), shape


def _missing(tensor: str, name: str, tensors: Mapping[str, TensorInfo]) -> str:
    prefixed = next((other for other in tensors if other.endswith(f".{tensor}")), None)
    if prefixed:
        prefix = prefixed.removesuffix(tensor)
        return f"Tensor {tensor!r} of {name} is missing; strip the prefix {prefix!r} from the names."
    return f"Tensor {tensor!r} of {name} is missing."


def _is_beyond(tensor: str, architecture: Architecture) -> bool:
    match = _BLOCK.match(tensor)
    if match is None or match[2] == "{i}":
        return False
    # A number of thousands of digits is more than Python reads.
    return len(match[2]) > _MOST_DIGITS or int(match[2]) >= _blocks_beside(tensor, architecture)


def _blocks_beside(tensor: str, architecture: Architecture) -> int:
    """How many blocks lie in the container of this tensor's."""
    match = _BLOCK.match(tensor)
    if not architecture.stages or match is None or match[1] is None:
        return architecture.depth
    stage = int(match[1])
    return architecture.stages[stage - 1] if 1 <= stage <= len(architecture.stages) else 0


def _image_size(tensors: Mapping[str, TensorInfo], architecture: Architecture) -> int | None:
    """The side of the square grid of position embeddings, in pixels; None when there is none."""
    positions = tensors.get("pos_embed")
    if positions is None or len(positions.shape) != 3:
        return None
    patches = (architecture.image_size // architecture.patch_size) ** 2
    expected = architecture.tensors.get("pos_embed", [1, patches, architecture.embed_dim])
    prefix_tokens = expected[1] - patches
    side = math.isqrt(max(positions.shape[1] - prefix_tokens, 0))
    return side * architecture.patch_size if side * side + prefix_tokens == positions.shape[1] else None


def _num_classes(tensors: Mapping[str, TensorInfo]) -> int | None:
    head = tensors.get("head.weight") or tensors.get("fc.weight")
    return head.shape[0] if head is not None and len(head.shape) == 2 else None
