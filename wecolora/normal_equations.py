"""Ridge regression of a linear layer's change, accumulated batch by batch."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wecolora.devices import exact_products_of_bf16

# Strengths of the ridge that the held-out images choose from, relative to the mean squared activation.
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
# Every so-manieth batch is held out to choose the strength, and then counts like the others.
_HELD_OUT = 5
_WITHOUT_HELD_OUT = 0.1
# Columns of the symmetric sums that are computed at once, from the diagonal down.
_TILE = 384


@dataclass
class NormalEquations:
    """Sums over rows of [a, 1]ᵀ[a, 1] and of what is missing, in float64; without the 1 for a layer without bias.

    Attributes:
        gram: [d_in + 1, d_in + 1]; it is symmetric, and what lies above its diagonal is not kept.
        cross: of the missing output with [a, 1], [d_out, d_in + 1].
        intercept: whether there is a 1.
        square: of the missing output, summed over everything.
        rows: tokens that were added.
    """

    gram: Tensor
    cross: Tensor
    intercept: bool
    square: Tensor
    rows: int = 0

    @classmethod
    def empty(cls, linear: nn.Linear) -> "NormalEquations":
        """No rows yet."""
        intercept = linear.bias is not None
        width = linear.in_features + int(intercept)
        gram, cross = (
            linear.weight.new_zeros(height, width, dtype=torch.float64)
            for height in (width, linear.out_features)
        )
        return cls(gram, cross, intercept, gram.new_zeros(()))

    def add(self, inputs: Tensor, missing: Tensor) -> None:
        """Add a batch: inputs [B, N, d_in], missing [B, N, d_out]; products of bf16 inputs are quicker and as exact."""
        rows, wanted = inputs.flatten(0, -2), missing.flatten(0, -2).float()
        width, outputs = rows.shape[1], wanted.shape[1]
        lowered = rows.dtype is torch.bfloat16
        rows = rows.float()
        self.square += _summed(wanted.square()).sum()
        if lowered:
            # In two parts, together of 16 bits; what they leave out is left out of all sums.
            upper = wanted.bfloat16().float()
            wanted = torch.cat([upper, (wanted - upper).bfloat16().float()], dim=1)
        total, missed = _summed(rows), _summed(wanted).view(-1, outputs).sum(dim=0)
        # Within a batch in float32, over batches in float64: the ridge is far above float32's rounding.
        with exact_products_of_bf16(rows.device) if lowered else nullcontext():
            for left in range(0, width, _TILE):
                right = min(left + _TILE, width)
                self.gram[left:width, left:right] += rows[:, left:].T @ rows[:, left:right]
            self.cross[:, :width] += (wanted.T @ rows).view(-1, outputs, width).sum(dim=0)
        if self.intercept:
            self.gram[-1, :width] += total
            self.gram[-1, -1] += len(rows)
            self.cross[:, -1] += missed
        self.rows += len(rows)

    def plus(self, other: "NormalEquations") -> "NormalEquations":
        """Those of both sets of rows."""
        return NormalEquations(
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
        gram = self.gram.tril() + self.gram.tril(-1).T
        explained = (change * (change @ gram - 2 * self.cross)).sum()
        return float(self.square + explained)

    def apply_to(self, linear: nn.Linear, ridge: float) -> None:
        """Change the layer."""
        change = self.solve(ridge)
        if self.intercept:
            linear.bias.add_(change[:, -1].to(linear.bias.dtype))
            change = change[:, :-1]
        linear.weight.add_(change.to(linear.weight.dtype))


def _summed(rows: Tensor) -> Tensor:
    """Over rows, [d] float64; sixteen at a time are summed in float32, which is ten times as fast."""
    whole = len(rows) // 16 * 16
    sixteens = rows[:whole].view(-1, 16, rows.shape[1]).sum(dim=1)
    return sixteens.double().sum(dim=0) + rows[whole:].double().sum(dim=0)


@dataclass
class HeldOutEquations:
    """Normal equations in two parts: the smaller one chooses the ridge's strength, then both are solved together."""

    fitted: NormalEquations
    held_out: NormalEquations

    @classmethod
    def empty(cls, linear: nn.Linear) -> "HeldOutEquations":
        """No rows yet."""
        return cls(NormalEquations.empty(linear), NormalEquations.empty(linear))

    def part(self, batch: int) -> NormalEquations:
        """Where a batch belongs, by its number."""
        return self.held_out if batch % _HELD_OUT == _HELD_OUT - 1 else self.fitted

    def apply_to(self, linear: nn.Linear, ridge: float | None) -> float:
        """Change the layer.

        Args:
            linear: whose inputs and missing outputs were added.
            ridge: strength; None takes the one that explains the held-out part best.

        Returns:
            The strength that was used.
        """
        strength = ridge
        if strength is None:
            strength = _WITHOUT_HELD_OUT if self.held_out.rows == 0 else self._best()
        self.fitted.plus(self.held_out).apply_to(linear, strength)
        return strength

    def _best(self) -> float:
        residuals = {ridge: self.held_out.residual(self.fitted.solve(ridge)) for ridge in RIDGES}
        return min(RIDGES, key=lambda ridge: residuals[ridge])
