"""Closed-form initialisation: every kept block is refitted to stand for the whole group of blocks it comes from.

A block's output is affine in its last linear layer (fc2, or what the family calls it): out = rest + g ⊙ (W·a + b), with
a the layer's input and g the block's LayerScale. So the W and b that bring the block's output nearest to the teacher's
tokens at the end of the group, in the least-squares sense, come from normal equations. Blocks are refitted in order,
each on the inputs that the refitted student gives it, so that later blocks mend what earlier ones leave over. The
deviation from the copied matrices is penalised (ridge), and how much is chosen on held-out images. No training, no
labels.

Related: ReplaceMe (Shopkhoev et al. 2025) and TOAST (Cannistraci et al. 2024) replace skipped blocks by one linear map;
here the map is folded into a block that is kept, and fitted from that block's hidden activations, which are four times
wider.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wecolora.architectures import architecture_name, last_linear
from wecolora.block_runner import BlockRunner
from wecolora.devices import autocast, kept_on
from wecolora.errors import UnsupportedArchitecture
from wecolora.normal_equations import HeldOutEquations

_AFFINE_TOLERANCE = 1e-3
# Tokens that callers hand over at once: those of the teacher and those of the student, float32.
TOKEN_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class BlockFit:
    """What the refit of one student block achieved, on the images it was fitted on.

    Attributes:
        block: of the student, counted from 0.
        end: teacher block at the end of its group, counted from 0.
        l1_before: mean absolute distance from the teacher's tokens there, with the copied matrix.
        l1_after: with the refitted one.
        ridge: strength that was used.
    """

    block: int
    end: int
    l1_before: float
    l1_after: float
    ridge: float


@dataclass
class _States:
    """Tokens of all images at one depth of a network, in batches, on the host or where they are worked on."""

    runner: BlockRunner
    tokens: list[Tensor]
    device: torch.device
    precision: str
    place: torch.device

    def run(self, index: int, number: int) -> Tensor:
        """One batch through one block."""
        with autocast(self.device, self.precision):
            return self.runner.run(index, self.tokens[number].to(self.device)).float()

    def advance(self, index: int, targets: Sequence[Tensor] = ()) -> float:
        """All batches through one block; returns their mean absolute distance from targets."""
        distance, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for number in range(len(self.tokens)):
            output = self.run(index, number)
            if targets:
                distance += (targets[number].to(self.device) - output).abs().sum()
                count += output.numel()
            self.tokens[number] = output.to(self.place)
        return float(distance) / max(count, 1)


def reached(depth: int, blocks: Sequence[int]) -> tuple[int, ...]:
    """Teacher blocks whose output the refitted blocks shall reach: M for M blocks, the last ``depth`` - 1.

    Each reaches as far as the next one's own place, so that a block stands for itself, what is skipped before it and
    what is skipped behind it.

    Args:
        depth: L.
        blocks: kept blocks, counted from 0, ascending.
    """
    return (*(following - 1 for following in blocks[1:]), depth - 1)


@torch.no_grad()
def refit_blocks(
    student: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Tensor],
    group_ends: Sequence[int],
    *,
    ridge: float | None = None,
    precision: str = "fp32",
    on_block: Callable[[int, int], None] = lambda done, total: None,
) -> list[BlockFit]:
    """Refit the last linear layer of every student block, in order, to the teacher's tokens at its group's end.

    Memory: two sets of tokens, [images, N, D] in float32, and normal equations of [d_in + 1, d_in + 1] in float64.

    Args:
        student: plain copies of teacher blocks (`copy_weights`), changed in place.
        teacher: on the same device.
        batches: normalised images, [B, 3, S, S] each, all views of an image in one batch; read once.
        group_ends: teacher block that each student block shall reach, counted from 0, ascending.
        ridge: strength; None chooses it for every block on held-out images.
        precision: of the blocks' passes, ``fp32`` or ``bf16``; the equations are in float32 and float64.
        on_block: called with (blocks done, blocks in all).

    Returns:
        What every block's refit achieved.

    Raises:
        UnsupportedArchitecture: the blocks' output is not affine in their last linear layer.
    """
    ours, theirs = _enter(student, teacher, batches, precision)
    fits = []
    done = -1
    for index, end in enumerate(group_ends):
        for skipped in range(done + 1, end + 1):
            theirs.advance(skipped)
        done = end
        before, strength = _refit(index, ours, theirs.tokens, ridge)
        after = ours.advance(index, theirs.tokens)
        fits.append(BlockFit(index, end, before, after, strength))
        on_block(index + 1, len(group_ends))
    return fits


def _enter(
    student: nn.Module, teacher: nn.Module, batches: Iterable[Tensor], precision: str
) -> tuple[_States, _States]:
    """The tokens before the first block; student and teacher share everything in front of it."""
    device = next(teacher.parameters()).device
    images = iter(batches)
    first = next(images).to(device)
    runners = [BlockRunner(model, first[:1]) for model in (student, teacher)]
    everything = itertools.chain([first], images)
    place = kept_on(device, TOKEN_BYTES)
    entered = [runners[1].enter(batch.to(device)).to(place) for batch in everything]
    ours, theirs = (_States(runner, list(entered), device, precision, place) for runner in runners)
    return ours, theirs


def _refit(index: int, ours: _States, targets: list[Tensor], ridge: float | None) -> tuple[float, float]:
    """Refit one block; returns the distance before, and the strength of the ridge."""
    block = ours.runner.blocks[index]
    linear = last_linear(block)
    gain = output_gain(ours.runner, index, linear, ours.tokens[0][:2].to(ours.device))
    equations = HeldOutEquations.empty(linear)
    before, count = torch.zeros((), dtype=torch.float64, device=ours.device), 0
    for number, target in enumerate(targets):
        with input_of(linear) as caught:
            output = ours.run(index, number)
        missing = target.to(ours.device) - output
        before += missing.abs().sum()
        count += missing.numel()
        equations.part(number).add(caught[0], missing / gain)
    return float(before) / count, equations.apply_to(linear, ridge)


@contextmanager
def input_of(linear: nn.Module) -> Iterator[list[Tensor]]:
    """What a layer reads while the context is open, call by call."""
    caught: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _layer, inputs: caught.append(inputs[0]))
    try:
        yield caught
    finally:
        handle.remove()


def output_gain(runner: BlockRunner, index: int, linear: nn.Module, tokens: Tensor) -> Tensor:
    """What adding 1 to the output of a block's last layer adds to the block's output, feature by feature (LayerScale).

    Args:
        runner: of the network.
        index: the block.
        linear: its last layer.
        tokens: that the block may read, [B, N, D].

    Returns:
        [D].

    Raises:
        UnsupportedArchitecture: when it depends on the tokens, so that there is no closed form.
    """
    plain = runner.run(index, tokens)
    outputs = []
    for added in (1.0, -2.0):
        handle = linear.register_forward_hook(lambda _layer, _inputs, output, added=added: output + added)
        try:
            outputs.append((runner.run(index, tokens) - plain) / added)
        finally:
            handle.remove()
    gain = outputs[0].mean(dim=(0, 1))
    scale = gain.abs().mean()
    affine = all(bool(((output - gain).abs() <= _AFFINE_TOLERANCE * scale).all()) for output in outputs)
    if not affine or not bool((gain != 0).all()):
        raise UnsupportedArchitecture(
            architecture_name(runner.model),
            "its blocks norm what their last layer gives, so that there is no closed form; use init=copy",
        )
    return gain
