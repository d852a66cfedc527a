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

All rates are trained at once, as R linear layers on the same batches of one matrix product. A test holds the steps to
those of torch's BatchNorm, autograd and timm's LARS; written out, they take a fraction of the time.

Legend: B batch, F width of the features, C classes, R rates, n images.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

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
# LARS and BatchNorm as timm and torch have them by default, but for MAE's epsilon.
_MOMENTUM = 0.9
_TRUST = 1e-3
_LARS_EPSILON = 1e-8
_BATCH_NORM_MOMENTUM = 0.1
_EPSILON = 1e-6


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


class _Heads:
    """R linear layers behind one BatchNorm without affine, and their momenta.

    All steps are a few products and sums of whole tensors: the R heads are rows of one matrix, and the BatchNorm is
    folded into it, since x̂·Wᵀ = x·(W·s)ᵀ - (W·s)·μ, with s one over the deviation.

    Args:
        start: of every head, [C, F].
        rates: base rate of each head's matrix, R of them.
        centre: of all features, [F]; subtracted, so that sums of squares stay small numbers.
    """

    def __init__(self, start: Tensor, rates: Sequence[float], centre: Tensor) -> None:
        self.centre = centre
        self.weights = start.repeat(len(rates), 1, 1)  # [R, C, F]
        self.biases = start.new_zeros(len(rates), len(start))
        self._rates = start.new_tensor(rates)
        self._of_weights, self._of_biases = torch.zeros_like(self.weights), torch.zeros_like(self.biases)
        # Of the centred features, as torch's BatchNorm keeps them.
        self._mean, self._variance = torch.zeros_like(centre) - centre, torch.ones_like(centre)

    def step(self, features: Tensor, labels: Tensor, rate: float) -> None:
        """One step of LARS on every head.

        Args:
            features: centred, [B, F].
            labels: [B] numbers, or [B, C] booleans.
            rate: that the base rates are multiplied with.
        """
        count = len(features)
        # As products, which take less time than torch's sums over the first dimension.
        shares = features.new_full((count,), 1 / count)
        mean = shares @ features
        variance = (shares @ features.square() - mean.square()).clamp_min_(0)
        self._mean.lerp_(mean, _BATCH_NORM_MOMENTUM)
        self._variance.lerp_(variance * (count / (count - 1)), _BATCH_NORM_MOMENTUM)
        scale = (variance + _EPSILON).rsqrt_()
        of_logits = _loss_gradient(self._logits(features, mean, scale), labels).flatten(1)
        of_biases = of_logits.sum(0)
        of_weights = (of_logits.t() @ features).addr_(of_biases, mean, alpha=-1).mul_(scale)
        self._move(of_weights.view_as(self.weights), of_biases.view_as(self.biases), rate)

    def _move(self, of_weights: Tensor, of_biases: Tensor, rate: float) -> None:
        """LARS (You et al. 2017): only matrices are adapted by their norm, as in MAE; biases take the plain rate."""
        lengths, gradients = self.weights.flatten(1).norm(dim=1), of_weights.flatten(1).norm(dim=1)
        trust = torch.where(
            (lengths > 0) & (gradients > 0), _TRUST * lengths / (gradients + _LARS_EPSILON), 1.0
        )
        self._of_weights.mul_(_MOMENTUM).add_(of_weights.mul_(trust[:, None, None]))
        self._of_biases.mul_(_MOMENTUM).add_(of_biases)
        self.weights.sub_(self._of_weights * (rate * self._rates)[:, None, None])
        self.biases.sub_(self._of_biases, alpha=rate * BASE_RATE)

    def _logits(self, features: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """[B, F] to [B, R, C], in one matrix product."""
        scaled = self.weights.flatten(0, 1) * scale
        together = torch.addmm(self.biases.flatten() - scaled @ mean, features, scaled.t())
        return together.view(len(features), *self.biases.shape)

    def scores(self, features: Tensor) -> np.ndarray:
        """[n, F], not centred, to [R, n, C]."""
        scale = (self._variance + _EPSILON).rsqrt()
        blocks = [
            self._logits(block - self.centre, self._mean, scale).cpu()
            for block in torch.split(features, _BLOCK)
        ]
        return torch.cat(blocks).transpose(0, 1).numpy()


def _loss_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each head's mean loss with respect to the logits [B, R, C], which are overwritten.

    Cross-entropy for one label an image, binary cross-entropy over all classes for any number of them.
    """
    count, _, classes = logits.shape
    if labels.ndim == 2:
        return logits.sigmoid_().sub_(labels[:, None].to(logits.dtype)).div_(count * classes)
    gradient = torch.softmax(logits, dim=-1)
    rows = torch.arange(count, device=logits.device)
    gradient[rows, :, labels] -= 1
    return gradient.div_(count)


@torch.no_grad()
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
    centre = features.mean(0)
    heads = _Heads(start.to(device), rates, centre)
    features = features - centre
    schedule = Schedule(
        images=count,
        epochs=EPOCHS,
        batch_size=batch,
        accumulate=1,
        warmup_epochs=WARMUP_EPOCHS,
        peak_learning_rate=batch / 256,
        seed=seed,
    )
    step = 0
    for _ in range(EPOCHS):
        order = torch.randperm(count, generator=generator).to(device)
        # Parts of nearly one size: BatchNorm needs more than one image.
        for indices in order.tensor_split(schedule.steps_per_epoch):
            heads.step(features[indices], labels[indices], schedule.learning_rate(step))
            step += 1
        yield heads
