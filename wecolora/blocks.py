"""Steps 2 to 4 of Algorithm 1: which blocks the student keeps, and copying them."""

import copy
import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from wecolora.config import BlockPolicy, DistillConfig
from wecolora.errors import OutOfRange, UnsupportedArchitecture
from wecolora.families import describe_model
from wecolora.layouts import Layout, block_paths, by_stage, first_blocks


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
    authors' code gives one more when r does not divide L, which contradicts the paper's own depth. Two are ours, for
    blocks that are refitted: ``middle-of-group`` is block ⌊r / 2⌋ of every group, counted from 0, but of the last
    group the teacher's last block, whose tokens are compared; ``both-ends`` is as many blocks, evenly spread from the
    first to the last.

    Args:
        depth: number of teacher blocks L.
        compression_factor: depth reduction r, 1 to L.
        policy: which blocks to keep; ``measured`` needs images (`measure_blocks`, `search_blocks`).

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
        case BlockPolicy.MIDDLE_OF_GROUP:
            inner = (compression_factor * group + compression_factor // 2 for group in range(blocks - 1))
            return (*inner, depth - 1)
        case BlockPolicy.BOTH_ENDS if blocks == 1:
            return (depth - 1,)
        case BlockPolicy.BOTH_ENDS:
            return tuple(round(number * (depth - 1) / (blocks - 1)) for number in range(blocks))
        case other:
            known = [each for each in BlockPolicy if each is not BlockPolicy.MEASURED]
            raise OutOfRange("policy", other, " or ".join(known))


def plan_blocks(layout: Layout, config: DistillConfig) -> tuple[int, ...]:
    """The blocks that a run keeps; where they are measured on images, those that the search begins with.

    In every stage of n blocks the policy chooses as it does in a transformer of n blocks, max(1, floor(n / r)) of them;
    where the first block of a stage is unlike the others, it takes the place of the policy's first choice. So of a
    ResNet-50's 3, 4, 6 and 3 blocks r = 2 keeps 1, 2, 3 and 1: of the stage of 6, ``last-of-group`` keeps 0, 3 and 5,
    ``first-of-group`` 0, 2 and 4, and ``both-ends`` 0, 2 and 5.

    Args:
        layout: of the teacher.
        config: ``layers``, ``compression_factor`` and ``policy`` are read.

    Raises:
        OutOfRange: ``layers`` is no list of this teacher's blocks, or r is not between 1 and its longest stage.
    """
    if config.layers is not None:
        return check_kept(layout, config.layers)
    whole = "the teacher" if len(layout.stages) == 1 else "the teacher's longest stage"
    _check_compression_factor(max(stage.depth for stage in layout.stages), config.compression_factor, whole)
    measured = config.policy is BlockPolicy.MEASURED
    policy = BlockPolicy.MIDDLE_OF_GROUP if measured else config.policy
    kept: list[int] = []
    for stage, start in zip(layout.stages, first_blocks(layout.stages), strict=True):
        inside = select_blocks(stage.depth, min(config.compression_factor, stage.depth), policy)
        if layout.first_blocks_stay:
            inside = (0, *inside[1:])
        kept += [start + block for block in inside]
    return tuple(kept)


def check_kept(layout: Layout, blocks: Sequence[int]) -> tuple[int, ...]:
    """Check a list of kept blocks against a layout.

    Raises:
        OutOfRange: see `check_layers`; or a stage's first block is missing that cannot be skipped.
    """
    kept = check_layers(layout.depth, blocks)
    firsts = first_blocks(layout.stages)
    if layout.first_blocks_stay and not set(firsts) <= set(kept):
        wanted = ", ".join(map(str, firsts))
        raise OutOfRange(
            "layers",
            list(kept),
            f"a list that holds {wanted}",
            "the first blocks of the stages, unlike the others",
        )
    return kept


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
    """Build the student: what the teacher has before and after its blocks, and deep copies of the chosen ones.

    Nothing is shared with the teacher, nothing of the teacher changes. Tensors outside the blocks that hold one slice
    a block (the frequencies of mixed rotary embeddings) keep the slices of the chosen blocks.

    Args:
        teacher: a timm transformer whose blocks are alike, or a ResNet.
        blocks: indices of the blocks to keep, counted from 0 over all stages, ascending.

    Returns:
        A model of the teacher's class and of depth ``len(blocks)``, on the teacher's device, in eval mode.

    Raises:
        UnsupportedArchitecture: when the blocks are not alike, or something else depends on the depth.
        OutOfRange: when ``blocks`` is not an ascending list of block numbers, or lacks one that cannot be skipped.
    """
    layout = describe_model(teacher)
    kept = check_kept(layout, blocks)
    paths = [stage.path for stage in layout.stages]
    originals = {path: cast("nn.Sequential | nn.ModuleList", teacher.get_submodule(path)) for path in paths}
    # The copy is made without the blocks, so that the skipped ones never take memory twice.
    try:
        for path, original in originals.items():
            teacher.set_submodule(path, type(original)())
        student = copy.deepcopy(teacher)
    finally:
        for path, original in originals.items():
            teacher.set_submodule(path, original)
    sources = dict(enumerate(block for original in originals.values() for block in original))
    for path, chosen in zip(paths, by_stage(layout.stages, kept), strict=True):
        copies = [copy.deepcopy(sources[block]) for block in chosen]
        whole = (
            nn.Sequential(*copies) if isinstance(originals[path], nn.Sequential) else nn.ModuleList(copies)
        )
        student.set_submodule(path, whole)
    _slice_depth_dependent(student, layout, kept)
    return student.eval()


def _slice_depth_dependent(student: nn.Module, layout: Layout, kept: tuple[int, ...]) -> None:
    """Cut what lies outside the blocks but counts them; refuse what cannot be cut."""
    depth = layout.depth
    feature_info = getattr(student, "feature_info", None)
    listed = [info.get("module") for info in feature_info] if isinstance(feature_info, list) else []
    if isinstance(feature_info, list) and listed == list(block_paths(layout)):
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
                    layout.architecture, f"{path}.{name} depends on the depth in a way that cannot be cut"
                )
            sliced = parameter.detach().index_select(axes[0], index.to(parameter.device))
            setattr(module, name, nn.Parameter(sliced, requires_grad=parameter.requires_grad))


def _check_compression_factor(depth: int, compression_factor: int, whole: str = "the teacher") -> None:
    if not 1 <= compression_factor <= depth:
        raise OutOfRange("r", compression_factor, f"from 1 to {depth}", f"{whole} has {depth} blocks")
