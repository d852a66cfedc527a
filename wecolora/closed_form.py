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
from wecolora.errors import UnsupportedArchitecture

# Strengths of the ridge that the held-out images choose from, relative to the mean squared activation.
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
# Every so-manieth batch is held out to choose the strength, and then counts like the others.
_HELD_OUT = 5
_AFFINE_TOLERANCE = 1e-3


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
    """Tokens of all images at one depth of a network, in batches on the CPU."""

    runner: BlockRunner
    tokens: list[Tensor]
    device: torch.device

    def advance(self, index: int, targets: Sequence[Tensor] = ()) -> float:
        """All batches through one block; returns their mean absolute distance from targets."""
        distance = count = 0.0
        for number, tokens in enumerate(self.tokens):
            output = self.runner.run(index, tokens.to(self.device))
            if targets:
                distance += float((targets[number].to(self.device) - output).abs().sum())
                count += output.numel()
            self.tokens[number] = output.cpu()
        return distance / max(count, 1.0)


@torch.no_grad()
def refit_blocks(
    student: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Tensor],
    group_ends: Sequence[int],
    *,
    ridge: float | None = None,
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
        on_block: called with (blocks done, blocks in all).

    Returns:
        What every block's refit achieved.

    Raises:
        UnsupportedArchitecture: the blocks' output is not affine in their last linear layer.
    """
    ours, theirs = _enter(student, teacher, batches)
    fits = []
    done = -1
    for index, end in enumerate(group_ends):
        for skipped in range(done + 1, end + 1):
            theirs.advance(skipped)
        done = end
        before, strength = _refit(student, index, ours, theirs.tokens, ridge)
        after = ours.advance(index, theirs.tokens)
        fits.append(BlockFit(index, end, before, after, strength))
        on_block(index + 1, len(group_ends))
    return fits


def _enter(student: nn.Module, teacher: nn.Module, batches: Iterable[Tensor]) -> tuple[_States, _States]:
    """The tokens before the first block; student and teacher share everything in front of it."""
    device = next(teacher.parameters()).device
    images = iter(batches)
    first = next(images).to(device)
    ours, theirs = (BlockRunner(model, first[:1]) for model in (student, teacher))
    entered = [theirs.enter(batch.to(device)).cpu() for batch in itertools.chain([first], images)]
    return _States(ours, list(entered), device), _States(theirs, list(entered), device)


def _refit(
    student: nn.Module, index: int, ours: _States, targets: list[Tensor], ridge: float | None
) -> tuple[float, float]:
    """Refit one block; returns the distance before, and the strength of the ridge."""
    block = ours.runner.blocks[index]
    linear = last_linear(block)
    gain = _gain(student, index, linear, ours)
    fitted, held_out = (_NormalEquations.empty(linear) for _ in range(2))
    before = count = 0.0
    for number, (tokens, target) in enumerate(zip(ours.tokens, targets, strict=True)):
        with _input_of(linear) as caught:
            output = ours.runner.run(index, tokens.to(ours.device))
        missing = target.to(ours.device) - output
        before += float(missing.abs().sum())
        count += missing.numel()
        part = held_out if number % _HELD_OUT == _HELD_OUT - 1 else fitted
        part.add(caught[0], missing / gain)
    strength = ridge
    if strength is None:
        strength = (
            min(RIDGES, key=lambda one: held_out.residual(fitted.solve(one))) if held_out.rows else RIDGES[-2]
        )
    fitted.plus(held_out).apply_to(linear, strength)
    return before / count, strength


@contextmanager
def _input_of(linear: nn.Module) -> Iterator[list[Tensor]]:
    caught: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _layer, inputs: caught.append(inputs[0]))
    try:
        yield caught
    finally:
        handle.remove()


def _gain(student: nn.Module, index: int, linear: nn.Module, ours: _States) -> Tensor:
    """What adding 1 to the layer's output adds to the block's output, feature by feature, [D] (LayerScale).

    Raises:
        UnsupportedArchitecture: when it depends on the tokens, so that there is no closed form.
    """
    tokens = ours.tokens[0][:2].to(ours.device)
    plain = ours.runner.run(index, tokens)
    outputs = []
    for added in (1.0, -2.0):
        handle = linear.register_forward_hook(lambda _layer, _inputs, output, added=added: output + added)
        try:
            outputs.append((ours.runner.run(index, tokens) - plain) / added)
        finally:
            handle.remove()
    gain = outputs[0].mean(dim=(0, 1))
    scale = gain.abs().mean()
    affine = all(bool(((output - gain).abs() <= _AFFINE_TOLERANCE * scale).all()) for output in outputs)
    if not affine or not bool((gain != 0).all()):
        raise UnsupportedArchitecture(
            architecture_name(student),
            "its blocks norm what their last layer gives, so that there is no closed form; use init=copy",
        )
    return gain


@dataclass
class _NormalEquations:
    """Sums over rows of [a, 1]ᵀ[a, 1] and of what is missing, in float64; without the 1 for a layer without bias.

    Attributes:
        gram: [d_in + 1, d_in + 1].
        cross: of the missing output with [a, 1], [d_out, d_in + 1].
        intercept: whether there is a 1.
        square: of the missing output, summed over everything.
        rows: tokens that were added.
    """

    gram: Tensor
    cross: Tensor
    intercept: bool
    square: float = 0.0
    rows: int = 0

    @classmethod
    def empty(cls, linear: nn.Linear) -> "_NormalEquations":
        """No rows yet."""
        intercept = linear.bias is not None
        width = linear.in_features + int(intercept)
        gram, cross = (
            linear.weight.new_zeros(height, width, dtype=torch.float64)
            for height in (width, linear.out_features)
        )
        return cls(gram, cross, intercept)

    def add(self, inputs: Tensor, missing: Tensor) -> None:
        """Add a batch: inputs [B, N, d_in], missing [B, N, d_out]."""
        rows = inputs.flatten(0, -2).float()
        if self.intercept:
            rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        wanted = missing.flatten(0, -2).float()
        # Products in float32, sums in float64: the ridge is far above float32's rounding.
        self.gram += (rows.T @ rows).double()
        self.cross += (wanted.T @ rows).double()
        self.square += float(wanted.square().sum(dtype=torch.float64))
        self.rows += len(rows)

    def plus(self, other: "_NormalEquations") -> "_NormalEquations":
        """Those of both sets of rows."""
        return _NormalEquations(
            self.gram + other.gram,
            self.cross + other.cross,
            self.intercept,
            self.square + other.square,
            self.rows + other.rows,
        )

    def solve(self, ridge: float) -> Tensor:
        """Change of [W, b] that explains what is missing, [d_out, d_in + 1]."""
        damped = self.gram.clone()
        diagonal = damped.diagonal()
        penalised = diagonal[:-1] if self.intercept else diagonal
        penalised += ridge * penalised.mean() + torch.finfo(torch.float32).tiny
        factor = torch.linalg.cholesky(damped)
        return torch.cholesky_solve(self.cross.T, factor).T

    def residual(self, change: Tensor) -> float:
        """Squared error that a change leaves on these rows."""
        explained = (change * (change @ self.gram - 2 * self.cross)).sum()
        return self.square + float(explained)

    def apply_to(self, linear: nn.Linear, ridge: float) -> None:
        """Change the layer."""
        change = self.solve(ridge)
        if self.intercept:
            linear.bias.add_(change[:, -1].to(linear.bias.dtype))
            change = change[:, :-1]
        linear.weight.add_(change.to(linear.weight.dtype))
