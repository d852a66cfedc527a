"""Which blocks to keep, by what dropping them does to the teacher's tokens on the images given."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from wecolora.block_runner import BlockRunner
from wecolora.families import describe_model
from wecolora.layouts import as_tokens, by_stage
from wecolora.losses import feature_l1
from wecolora.views import AugmentedImages

# Dropping a block changes all tokens of all images alike; a few dozen images tell the blocks apart.
_IMAGES = 64


@torch.no_grad()
def measure_blocks(
    teacher: nn.Module,
    views: AugmentedImages,
    keep: int | Sequence[int],
    device: torch.device,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, ...]:
    """Drop one block after another, each time the one that moves the last tokens least, until ``keep`` are left.

    The real effect is measured (L1 of the last tokens, Eq. 5), not a proxy such as the cosine between a block's input
    and output, which is known to rank blocks poorly. The first block of a stage always stays, so that the student reads
    what the teacher's groups read.

    Args:
        teacher: frozen, on the device.
        views: augmented images; the first view of up to 64 of them is used.
        keep: blocks to keep, of every stage; a number where there is but one stage.
        device: of the teacher.
        on_progress: called with (dropped, to drop).

    Returns:
        Kept blocks, counted from 0, ascending.
    """
    count = min(len(views), _IMAGES)
    spread = [number * len(views) // count for number in range(count)]
    images = views.batch([(0, index) for index in spread], device)
    runner = BlockRunner(teacher, images[:1])
    stages = describe_model(teacher).stages
    most = (keep,) if isinstance(keep, int) else tuple(keep)
    kept = list(range(len(runner.blocks)))
    entered = runner.enter(images)
    wanted = _through(runner, kept, entered)
    to_drop = len(kept) - sum(most)
    for dropped in range(to_drop):
        of_stages = zip(by_stage(stages, kept), most, strict=True)
        droppable = {block for inside, wish in of_stages if len(inside) > wish for block in inside[1:]}
        losses = {}
        tokens = entered
        for place, block in enumerate(kept):
            if block in droppable:
                losses[block] = float(feature_l1(_through(runner, kept[place + 1 :], tokens), wanted))
            tokens = runner.run(block, tokens)
        kept.remove(min(losses, key=lambda block: losses[block]))
        on_progress(dropped + 1, to_drop)
    return tuple(kept)


def _through(runner: BlockRunner, blocks: list[int], tokens: Tensor) -> Tensor:
    for block in blocks:
        tokens = runner.run(block, tokens)
    return as_tokens(tokens)
