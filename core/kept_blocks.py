"""Which blocks of the teacher a student keeps, where no images are needed to say so: the engine's rules.

A test compares every policy with the engine's own choice.
"""

from collections.abc import Sequence

from core.options import JobOptions

MEASURED = "measured"


def kept_blocks(stages: Sequence[int], options: JobOptions) -> list[int]:
    """Numbers of the kept blocks, counted over all stages from 0; for `measured` those that the choice begins with.

    Args:
        stages: blocks of each; one stage for a transformer.
        options: complete, and checked against the teacher.
    """
    if options.layers is not None:
        return list(options.layers)
    kept: list[int] = []
    start = 0
    for depth in stages:
        inside = _select(depth, min(options.r, depth), options.policy)
        if len(stages) > 1:
            inside = [0, *inside[1:]]  # the first block of a stage cannot be left out
        kept += [start + block for block in inside]
        start += depth
    return kept


def are_known(options: JobOptions) -> bool:
    """Whether the blocks are known before the images were seen."""
    return options.layers is not None or options.policy != MEASURED


def _select(depth: int, compression_factor: int, policy: str | None) -> list[int]:
    blocks = depth // compression_factor
    if policy == "last-of-group":
        return [compression_factor * (group + 1) - 1 for group in range(blocks)]
    if policy in ("middle-of-group", MEASURED):
        inner = [compression_factor * group + compression_factor // 2 for group in range(blocks - 1)]
        return [*inner, depth - 1]
    if policy == "both-ends":
        if blocks == 1:
            return [depth - 1]
        return [round(number * (depth - 1) / (blocks - 1)) for number in range(blocks)]
    return [compression_factor * group for group in range(blocks)]
