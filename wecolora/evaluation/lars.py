"""The authors' linear probe: BatchNorm without affine, then a linear layer, trained with LARS.

After MAE's recipe, which the authors' code follows: eps 1e-6, weight decay 0, momentum 0.9, base learning rate 0.1
for a batch of 256, 10 of 50 epochs linear warm-up, then half a cosine to 0. Where we differ, and why:

- features are computed once, so there is no augmentation while the probe is trained;
- the authors report the highest TEST accuracy of any epoch. Here the rate and the number of epochs are chosen on a
  held-out fifth of the training images, and the layer is trained anew on all of them;
- several base rates are tried. A step of LARS moves the weights by a share of their own norm, so all steps together
  move them by rate × images × epochs: at 0.1, meant for ImageNet's 1.3 million images, those of a small set barely
  move. Below 10,000 images the rates tried grow as the images are fewer; above, those that would move the weights
  beyond any use are left out. Biases, which LARS does not scale, keep 0.1.

All rates are trained at once, as R linear layers on the same batches of one matrix product.

Legend: B batch, F width of the features, C classes, R rates, n images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wecolora.evaluation.classifier import Classifier
from wecolora.evaluation.features import FeatureTable
from wecolora.evaluation.scores import quality
from wecolora.evaluation.splits import HELD_OUT_SHARE, held_out
from wecolora.schedule import Schedule, mix_seed

EPOCHS = 50
WARMUP_EPOCHS = 10
# The authors' base rate, and multiples of it that are tried.
BASE_RATE = 0.1
MULTIPLES = (1.0, 3.0, 10.0, 30.0, 100.0)
_ENOUGH_IMAGES = 10_000
# Rate × images beyond which weights have only grown; the two smallest rates are always tried.
_FARTHEST = 160_000
_LARGEST_BATCH = 512
_SMALLEST_BATCH = 32
_STEPS_PER_EPOCH = 50
_BLOCK = 16384


def fit_lars(table: FeatureTable, seed: int, device: torch.device) -> Classifier:
    """Choose base rate and number of epochs, then train on all rows.

    Raises:
        ClassTooSmall: nothing can be held out.
    """
    kept, off = held_out(table.labels, table.classes, table.groups, HELD_OUT_SHARE, seed)
    judge = table.take(off)
    features = torch.from_numpy(judge.features).to(device)
    rates = rates_for(len(kept))
    found = np.asarray(
        [
            [quality(scores, judge.labels) for scores in heads.scores(features)]
            for heads in _train(table.take(kept), rates, seed, device)
        ]
    )
    epoch, rate = np.unravel_index(int(np.argmax(found)), found.shape)
    for number, heads in enumerate(_train(table, (rates[rate],), seed, device)):
        final = heads
        if number == epoch:
            break
    return Classifier(
        lambda features: final.scores(torch.from_numpy(features).to(device))[0],
        float(found[epoch, rate]),
        learning_rate=rates[rate],
        epoch=int(epoch) + 1,
    )


def rates_for(count: int) -> tuple[float, ...]:
    """Base rates to try for so many training images, the smallest first."""
    scale = max(1.0, _ENOUGH_IMAGES / count)
    rates = [round(BASE_RATE * multiple * scale, 3) for multiple in MULTIPLES]
    return tuple(rates[:2] + [rate for rate in rates[2:] if rate * count <= _FARTHEST])


@dataclass(frozen=True, eq=False)
class _Heads:
    """R linear layers behind one BatchNorm."""

    norm: nn.BatchNorm1d
    weights: list[nn.Parameter]  # R of [C, F]
    biases: list[nn.Parameter]  # R of [C]

    def logits(self, features: Tensor) -> Tensor:
        """[B, F] to [B, R, C], in one matrix product."""
        together = functional.linear(
            self.norm(features), torch.cat(list(self.weights)), torch.cat(list(self.biases))
        )
        return together.reshape(len(features), len(self.weights), -1)

    @torch.no_grad()
    def scores(self, features: Tensor) -> np.ndarray:
        """Of frozen heads: [n, F] to [R, n, C]."""
        self.norm.eval()
        blocks = [self.logits(block).cpu() for block in torch.split(features, _BLOCK)]
        self.norm.train()
        return torch.cat(blocks).transpose(0, 1).numpy()


def _train(
    table: FeatureTable, rates: tuple[float, ...], seed: int, device: torch.device
) -> Iterator[_Heads]:
    """Train one head for each base rate; yields them after every epoch, to be read before the next."""
    count, width = table.features.shape
    batch = min(_LARGEST_BATCH, max(_SMALLEST_BATCH, count // _STEPS_PER_EPOCH), count)
    generator = torch.Generator().manual_seed(mix_seed(seed, 0x1A25))
    features = torch.from_numpy(table.features).to(device)
    labels = torch.from_numpy(table.labels).to(device)
    # One start for all rates, so that they differ in nothing else (MAE: normal, std 0.01, cut at ±2).
    start = torch.empty(len(table.classes), width)
    nn.init.trunc_normal_(start, std=0.01, generator=generator)
    heads = _Heads(
        nn.BatchNorm1d(width, eps=1e-6, affine=False).to(device),
        [nn.Parameter(start.clone().to(device)) for _ in rates],
        [nn.Parameter(torch.zeros(len(table.classes), device=device)) for _ in rates],
    )
    # timm may be imported only once torchvision_compat has been, as `features` does.
    from timm.optim import Lars

    # As in MAE, only matrices are adapted by their norm; biases take the plain rate.
    optimiser = Lars(
        [{"params": [weight], "always_adapt": True} for weight in heads.weights]
        + [{"params": [bias], "always_adapt": False} for bias in heads.biases],
        momentum=0.9,
        weight_decay=0.0,
    )
    schedule = Schedule(
        images=count,
        epochs=EPOCHS,
        batch_size=batch,
        accumulate=1,
        warmup_epochs=WARMUP_EPOCHS,
        peak_learning_rate=batch / 256,
        seed=seed,
    )
    group_rates = (*rates, *(BASE_RATE for _ in rates))
    step = 0
    for _ in range(EPOCHS):
        order = torch.randperm(count, generator=generator).to(device)
        # Parts of nearly one size: BatchNorm needs more than one image.
        for indices in order.tensor_split(schedule.steps_per_epoch):
            for group, rate in zip(optimiser.param_groups, group_rates, strict=True):
                group["lr"] = rate * schedule.learning_rate(step)
            loss = _loss(heads.logits(features[indices]), labels[indices])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            step += 1
        yield heads


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over the R heads of each one's mean loss, so that their gradients do not mix; logits [B, R, C]."""
    batch, heads, _ = logits.shape
    if labels.ndim == 2:
        wanted = labels[:, None].expand_as(logits).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, wanted) * heads
    return (
        functional.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(heads), reduction="sum")
        / batch
    )
