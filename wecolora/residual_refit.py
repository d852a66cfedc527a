"""Closed-form initialisation of ResNets: every kept block is refitted to stand for the whole group it comes from.

As in `wecolora.closed_form`, but a residual block ends in a ReLU: out = ReLU(z), z = shortcut + BatchNorm(conv(W, a)).
With the norm's statistics frozen, z is affine in the last convolution's W and the norm's shift, out is not. What the
ReLU hides does not matter, so the target is the nearest z that gives the teacher's map t at the end of the group: t
where it is above 0; elsewhere min(z, 0), since what is off already may stay where it is. Zhang et al. (2015,
"Accelerating Very Deep Convolutional Networks for Classification and Detection") alternate such targets with
least-squares fits; one round is done here, since what is left over falls to the blocks behind and to the training.

The norm's scale is moved into the convolution first, so that channels which the teacher's block had switched off can
take part.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from wecolora.architectures import architecture_name
from wecolora.block_runner import BlockRunner
from wecolora.closed_form import BlockFit
from wecolora.errors import UnsupportedArchitecture
from wecolora.families import model_blocks
from wecolora.low_rank import input_rows
from wecolora.normal_equations import HeldOutEquations

# Images whose patches are unfolded at once: a 3 × 3 convolution reads each value nine times.
_UNFOLDED_IMAGES = 8


@dataclass(frozen=True)
class _Ending:
    """The last layers of a residual branch, and the activation after the shortcut is added.

    Attributes:
        convolution: the last one, without bias and groups.
        norm: behind it.
        activation: behind the sum of branch and shortcut.
    """

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    activation: nn.ReLU


@torch.no_grad()
def refit_residual_blocks(
    student: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Tensor],
    group_ends: Sequence[int],
    *,
    ridge: float | None = None,
    on_block: Callable[[int, int], None] = lambda done, total: None,
) -> list[BlockFit]:
    """Refit the last convolution and norm of every student block, in order, to the teacher's map at its group's end.

    Memory: the maps of all images at one depth, of student and teacher, in float32, and normal equations of
    [in · kh · kw + 1] on a side in float64.

    Args:
        student: plain copies of teacher blocks (`copy_weights`), changed in place.
        teacher: a ResNet on the same device.
        batches: normalised images, [B, 3, S, S] each, all views of an image in one batch; read once.
        group_ends: teacher block that each student block shall reach, counted from 0, ascending, in its own stage.
        ridge: strength; None chooses it for every block on held-out images.
        on_block: called with (blocks done, blocks in all).

    Returns:
        What every block's refit achieved.

    Raises:
        UnsupportedArchitecture: the blocks do not end in a convolution, a BatchNorm and a ReLU alone.
    """
    device = next(teacher.parameters()).device
    images = iter(batches)
    first = next(images).to(device)
    ours, theirs = (BlockRunner(model, first[:1]) for model in (student, teacher))
    endings = [_ending(student, block) for block in ours.blocks]
    entered = [theirs.enter(batch.to(device)).cpu() for batch in itertools.chain([first], images)]
    maps, targets = list(entered), entered
    fits = []
    done = -1
    for index, (end, ending) in enumerate(zip(group_ends, endings, strict=True)):
        for skipped in range(done + 1, end + 1):
            targets = [theirs.run(skipped, one.to(device)).cpu() for one in targets]
        done = end
        _absorb_scale(ending)
        before, strength = _refit(ours, index, ending, maps, targets, ridge)
        maps = [ours.run(index, one.to(device)).cpu() for one in maps]
        fits.append(BlockFit(index, end, before, _distance(maps, targets), strength))
        on_block(index + 1, len(group_ends))
    return fits


def check_refittable(student: nn.Module) -> None:
    """Make sure that every block ends in a convolution, a BatchNorm, the sum and a ReLU, as the closed form needs.

    Raises:
        UnsupportedArchitecture: says what stands in its way.
    """
    for block in model_blocks(student):
        _ending(student, block)


def _refit(
    ours: BlockRunner,
    index: int,
    ending: _Ending,
    maps: list[Tensor],
    targets: list[Tensor],
    ridge: float | None,
) -> tuple[float, float]:
    """Refit one block; returns the distance before, and the strength of the ridge."""
    linear = _as_linear(ending)
    device = linear.weight.device
    equations = HeldOutEquations.empty(linear)
    before = []
    for number, (inputs, target) in enumerate(zip(maps, targets, strict=True)):
        pieces = (torch.split(one, _UNFOLDED_IMAGES) for one in (inputs, target))
        for piece, wanted in zip(*pieces, strict=True):
            read, summed = _look_inside(ours, index, ending, piece.to(device))
            goal = wanted.to(device)
            missing = torch.where(goal > 0, goal, summed.clamp(max=0)) - summed
            equations.part(number).add(input_rows(ending.convolution, read), missing.movedim(1, -1))
            before.append(((goal - summed.relu()).abs().mean(), len(piece)))
    strength = equations.apply_to(linear, ridge)
    ending.convolution.weight.copy_(linear.weight.view_as(ending.convolution.weight))
    ending.norm.bias.copy_(linear.bias)
    total = sum(count for _, count in before)
    return sum(float(distance) * count for distance, count in before) / total, strength


def _look_inside(ours: BlockRunner, index: int, ending: _Ending, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What the last convolution reads, and the sum z that the activation reads."""
    caught: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            caught[name] = arguments[0].clone()  # the activation works in place

        return hook

    handles = [
        ending.convolution.register_forward_pre_hook(keep("read")),
        ending.activation.register_forward_pre_hook(keep("summed")),
    ]
    try:
        ours.run(index, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return caught["read"], caught["summed"]


def _ending(student: nn.Module, block: nn.Module) -> _Ending:
    number = 3 if hasattr(block, "conv3") else 2
    convolution, norm, activation = (getattr(block, f"{name}{number}") for name in ("conv", "bn", "act"))
    reason = None
    if getattr(block, "se", None) is not None:
        reason = "its blocks weigh the channels of their last convolution by the image"
    elif type(norm) is not nn.BatchNorm2d or norm.running_var is None:
        reason = "its blocks end in a norm that depends on the image"
    elif type(activation) is not nn.ReLU:
        reason = f"its blocks end in {type(activation).__name__}, not ReLU"
    if reason is not None:
        raise UnsupportedArchitecture(
            architecture_name(student), f"{reason}, so that there is no closed form; use init=copy"
        )
    return _Ending(convolution, norm, activation)


def _absorb_scale(ending: _Ending) -> None:
    """Give the norm a scale of 1 without changing what the block computes."""
    norm = ending.norm
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    deviation = (variance + norm.eps).sqrt()
    scale = norm.weight / deviation
    ending.convolution.weight.mul_(scale[:, None, None, None])
    mean.mul_(scale)
    norm.weight.copy_(deviation)


def _as_linear(ending: _Ending) -> nn.Linear:
    """The last convolution and its norm's shift as one linear layer on unfolded maps."""
    filters = ending.convolution.weight
    linear = nn.Linear(filters[0].numel(), len(filters), device=filters.device).requires_grad_(False)
    linear.weight.copy_(filters.flatten(1))
    linear.bias.copy_(ending.norm.bias)
    return linear


def _distance(maps: list[Tensor], targets: list[Tensor]) -> float:
    total = sum(float((one - other).abs().sum()) for one, other in zip(maps, targets, strict=True))
    return total / sum(one.numel() for one in maps)
