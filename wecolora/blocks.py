"""Steps 2 to 4 of Algorithm 1: which blocks the student keeps, and copying them."""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from wecolora.architectures import describe_transformer
from wecolora.config import BlockPolicy
from wecolora.errors import OutOfRange, UnsupportedArchitecture


def student_depth(depth: int, compression_factor: int) -> int:
    """M = floor(L / r) (paper, Algorithm 1, step 2)."""
    _check_compression_factor(depth, compression_factor)
    return depth // compression_factor


def select_blocks(
    depth: int, compression_factor: int, policy: BlockPolicy | str = BlockPolicy.LAST_OF_GROUP
) -> tuple[int, ...]:
    """Choose the teacher blocks that become the student (paper, Section 3.1 and Algorithm 1, steps 2 to 4).

    ``last-of-group`` is the paper's text: block r·l counted from 1, for l = 1 … floor(L / r). ``first-of-group`` is
    what the authors' public code does: blocks 0, r, 2r, … counted from 0. Both give floor(L / r) blocks here; the
    authors' code gives one more when r does not divide L, which contradicts the paper's own depth. ``both-ends`` is
    ours: as many blocks, evenly spread from the first, which reads the embeddings, to the last, whose tokens are
    compared.

    Args:
        depth: number of teacher blocks L.
        compression_factor: depth reduction r, 1 to L.
        policy: which blocks to keep; ``measured`` needs images (`measure_blocks`).

    Returns:
        Indices of the kept blocks, counted from 0, in ascending order.

    Raises:
        OutOfRange: when r is not between 1 and L, or the policy is unknown or needs images.
    """
    blocks = student_depth(depth, compression_factor)
    match str(policy):
        case BlockPolicy.LAST_OF_GROUP:
            return tuple(compression_factor * (group + 1) - 1 for group in range(blocks))
        case BlockPolicy.FIRST_OF_GROUP:
            return tuple(compression_factor * group for group in range(blocks))
        case BlockPolicy.BOTH_ENDS if blocks == 1:
            return (depth - 1,)
        case BlockPolicy.BOTH_ENDS:
            return tuple(round(number * (depth - 1) / (blocks - 1)) for number in range(blocks))
        case other:
            known = [each for each in BlockPolicy if each is not BlockPolicy.MEASURED]
            raise OutOfRange("policy", other, " or ".join(known))


def check_layers(depth: int, layers: Sequence[int]) -> tuple[int, ...]:
    """Check an explicit list of kept blocks.

    Raises:
        OutOfRange: when it is empty, not strictly ascending, or leaves 0 … L-1.
    """
    kept = tuple(layers)
    ascending = all(left < right for left, right in itertools.pairwise(kept))
    if not kept or not ascending or kept[0] < 0 or kept[-1] >= depth:
        raise OutOfRange(
            "layers", list(kept), f"an ascending list of different block numbers from 0 to {depth - 1}"
        )
    return kept


def copy_weights(teacher: nn.Module, blocks: Sequence[int]) -> nn.Module:
    """Build the student: the teacher's embeddings, norm and head, and deep copies of the chosen blocks.

    Nothing is shared with the teacher, nothing of the teacher changes. Tensors outside the blocks that hold one slice
    a block (the frequencies of mixed rotary embeddings) keep the slices of the chosen blocks.

    Args:
        teacher: a timm transformer whose blocks are alike.
        blocks: indices of the blocks to keep, counted from 0, ascending.

    Returns:
        A model of the teacher's class and of depth ``len(blocks)``, on the teacher's device, in eval mode.

    Raises:
        UnsupportedArchitecture: when the blocks are not alike, or something else depends on the depth.
        OutOfRange: when ``blocks`` is not an ascending list of block numbers.
    """
    layout = describe_transformer(teacher)
    kept = check_layers(layout.depth, blocks)
    original = teacher.blocks
    assert isinstance(original, nn.Sequential | nn.ModuleList)
    # The copy is made without the blocks, so that the skipped ones never take memory twice.
    try:
        teacher.blocks = type(original)()
        student = copy.deepcopy(teacher)
    finally:
        teacher.blocks = original
    copies = [copy.deepcopy(original[index]) for index in kept]
    student.blocks = nn.Sequential(*copies) if isinstance(original, nn.Sequential) else nn.ModuleList(copies)
    _slice_depth_dependent(student, layout.architecture, layout.depth, kept)
    return student.eval()


def _slice_depth_dependent(student: nn.Module, architecture: str, depth: int, kept: tuple[int, ...]) -> None:
    """Cut what lies outside the blocks but counts them; refuse what cannot be cut."""
    feature_info = getattr(student, "feature_info", None)
    if isinstance(feature_info, list) and len(feature_info) == depth:
        # timm keeps plain data here, which the type of nn.Module does not foresee.
        kept_info: Any = [
            {**feature_info[teacher_index], "module": f"blocks.{index}"}
            for index, teacher_index in enumerate(kept)
        ]
        student.feature_info = kept_info
    for path, module in student.named_modules():
        if path.startswith("blocks.") or getattr(module, "depth", None) != depth:
            continue
        module.depth = len(kept)
        index = torch.tensor(kept)
        for name, parameter in list(module.named_parameters(recurse=False)):
            axes = [axis for axis, size in enumerate(parameter.shape) if size == depth]
            if len(axes) != 1:
                raise UnsupportedArchitecture(
                    architecture, f"{path}.{name} depends on the depth in a way that cannot be cut"
                )
            sliced = parameter.detach().index_select(axes[0], index.to(parameter.device))
            setattr(module, name, nn.Parameter(sliced, requires_grad=parameter.requires_grad))


def _check_compression_factor(depth: int, compression_factor: int) -> None:
    if not 1 <= compression_factor <= depth:
        raise OutOfRange("r", compression_factor, f"from 1 to {depth}", f"the teacher has {depth} blocks")
