"""Which blocks to keep when the kept ones are refitted: by how the refitted student tells the images given apart.

How near a refitted student's tokens are to the teacher's says little about what a linear probe makes of its features.
Whether it finds the same images alike does: so sets of blocks are compared by linear CKA (Kornblith et al. 2019,
"Similarity of Neural Network Representations Revisited") of the pooled features, on images that no refit saw. Every set
is really refitted, on a sample: a few hundred images, some of a block's hidden activations, one strength of the ridge.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wecolora.architectures import last_linear
from wecolora.block_runner import BlockRunner, Ending
from wecolora.closed_form import input_of, output_gain, reached
from wecolora.devices import autocast, kept_on
from wecolora.normal_equations import NormalEquations
from wecolora.views import AugmentedImages

# Images of a search; with fewer than the least the sets' order is noise.
MOST_IMAGES, LEAST_IMAGES = 700, 300
# Of every so many images two are held out.
_HELD_OUT = 7
_CHUNK = 64
# Tokens of an image and activations of a token that the equations see, at most.
_TOKENS, _ACTIVATIONS = 32, 768
_RIDGE = 0.1
# A set is taken when it leaves so much less over: smaller differences are noise.
_BETTER = 0.98
# The student's tokens after each of its blocks, and the teacher's sampled ones, in half precision.
_BYTES = 2 * 1024**3


@torch.no_grad()
def search_blocks(
    teacher: nn.Module,
    views: AugmentedImages,
    start: Sequence[int],
    device: torch.device,
    precision: str = "fp32",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, ...] | None:
    """Move one block after another, from the last to the first, to where the refitted student is most like the teacher.

    The last block stays: its tokens are those that are compared.

    Args:
        teacher: frozen, on the device; a transformer of one stage.
        views: augmented images; the first view of up to 700 of them is used.
        start: kept blocks to begin with, counted from 0, ascending.
        device: of the teacher.
        precision: of the blocks' passes, ``fp32`` or ``bf16``.
        on_progress: called with (blocks done, blocks in all).

    Returns:
        Kept blocks, counted from 0, ascending; None where there are fewer than 300 images, or memory holds the tokens
        of fewer, so that chance would choose.

    Raises:
        UnsupportedArchitecture: the blocks' output is not affine in their last linear layer.
    """
    kept = tuple(start)
    first = views.batch([(0, 0)], device)
    runner = BlockRunner(teacher, first)
    entered = runner.enter(first)
    output_gain(runner, 0, last_linear(runner.blocks[0]), entered)  # is there a closed form?
    if len(kept) in (1, len(runner.blocks)):
        return kept
    count = min(len(views), MOST_IMAGES, _BYTES // (2 * entered.numel() * (len(kept) + 1)))
    if count < LEAST_IMAGES:
        return None
    bench = _Bench(teacher, runner, first, views, count, precision)
    best = bench.distance(kept)
    for place in reversed(range(len(kept) - 1)):
        before = kept[place - 1] if place else -1
        for block in range(before + 1, kept[place + 1]):
            other = (*kept[:place], block, *kept[place + 1 :])
            if other == kept:
                continue
            distance = bench.distance(other)
            if distance < _BETTER * best:
                kept, best = other, distance
        on_progress(len(kept) - 1 - place, len(kept) - 1)
    return kept


class _Bench:
    """Students by their blocks, refitted on a sample of images and compared on the others."""

    def __init__(
        self,
        teacher: nn.Module,
        runner: BlockRunner,
        first: Tensor,
        views: AugmentedImages,
        count: int,
        precision: str,
    ) -> None:
        self.runner, self.device, self.precision = runner, first.device, precision
        self.ending = Ending(teacher, first)
        self.place = kept_on(self.device, _BYTES)
        spread = [number * len(views) // count for number in range(count)]
        held_out = [number % _HELD_OUT in (2, 5) for number in range(count)]
        fitted = _chunks([index for index, out in zip(spread, held_out, strict=True) if not out])
        others = _chunks([index for index, out in zip(spread, held_out, strict=True) if out])
        self.fitted_chunks = len(fitted)
        generator = torch.Generator().manual_seed(0)
        with autocast(self.device, precision):
            self.entered = [
                self._stored(runner.enter(views.batch([(0, index) for index in chunk], self.device)))
                for chunk in (*fitted, *others)
            ]
        tokens = self.entered[0].shape[1]
        patches = 1 + torch.randperm(tokens - 1, generator=generator)[: _TOKENS - 1]
        self.sample = torch.cat([patches.new_zeros(1), patches]).sort().values.to(self.device)
        self.targets: list[list[Tensor]] = []
        self.gains: dict[int, Tensor] = {}
        self.activations: dict[int, Tensor] = {}
        self._states: dict[tuple[tuple[int, int], ...], list[Tensor]] = {(): self.entered}
        self._run_the_teacher()

    def _run_the_teacher(self) -> None:
        """Keep the teacher's tokens after each block, of the images to fit, and its features of the others."""
        states = list(self.entered)
        for index in range(len(self.runner.blocks)):
            for number, tokens in enumerate(states):
                states[number] = self._stored(self._run(index, tokens))
            sample = self.sample.to(self.place)
            self.targets.append([one.index_select(1, sample) for one in states[: self.fitted_chunks]])
        self.wanted = self._features(states)

    def distance(self, kept: tuple[int, ...]) -> float:
        """1 - CKA of a student's features and the teacher's, on the images held out."""
        ends = reached(len(self.runner.blocks), kept)
        path: tuple[tuple[int, int], ...] = ()
        for block, end in zip(kept, ends, strict=True):
            longer = (*path, (block, end))
            if longer not in self._states:
                # States beside the way to this one are not needed again.
                self._states = {
                    way: states for way, states in self._states.items() if way == longer[: len(way)]
                }
                self._states[longer] = self._refitted(self._states[path], block, end)
            path = longer
        return 1 - linear_cka(self._features(self._states[path]), self.wanted)

    def _refitted(self, states: list[Tensor], block: int, end: int) -> list[Tensor]:
        """Tokens after a block that was refitted to reach the teacher's after block ``end``."""
        linear = last_linear(self.runner.blocks[block])
        if block not in self.gains:
            self.gains[block] = output_gain(self.runner, block, linear, self._read(self.entered[0][:2]))
            generator = torch.Generator().manual_seed(block)
            chosen = torch.randperm(linear.in_features, generator=generator)[:_ACTIVATIONS]
            self.activations[block] = chosen.sort().values.to(self.device)
        gain, chosen = self.gains[block], self.activations[block]
        equations = NormalEquations.empty(nn.Linear(len(chosen), len(gain), device=self.device))
        passed = []
        for number, tokens in enumerate(states):
            with input_of(linear) as caught:
                output = self._run(block, tokens)
            read = caught[0].index_select(-1, chosen)
            passed.append((self._stored(output), self._stored(read)))
            if number < self.fitted_chunks:
                missing = self._read(self.targets[end][number]) - self._sampled(output)
                equations.add(read.index_select(1, self.sample), missing / gain)
        change = equations.solve(_RIDGE).float() * gain[:, None]
        weight, bias = change[:, :-1], change[:, -1]
        return [
            self._stored(self._read(output) + F.linear(self._read(read), weight, bias))
            for output, read in passed
        ]

    def _run(self, index: int, tokens: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            return self.runner.run(index, self._read(tokens)).float()

    def _sampled(self, tokens: Tensor) -> Tensor:
        return tokens.index_select(1, self.sample).float()

    def _read(self, stored: Tensor) -> Tensor:
        return stored.to(self.device).float()

    def _stored(self, tokens: Tensor) -> Tensor:
        """In half precision; the few numbers beyond its range are cut, since one infinity would spoil all."""
        largest = torch.finfo(torch.half).max
        return tokens.clamp(-largest, largest).half().to(self.place)

    def _features(self, states: list[Tensor]) -> Tensor:
        held_out = states[self.fitted_chunks :]
        return torch.cat([self.ending(self._read(one)) for one in held_out])


def linear_cka(ours: Tensor, theirs: Tensor) -> float:
    """How alike two sets of features find the same images, from 0 to 1 (linear CKA of directions from the mean).

    Args:
        ours: features, [B, F].
        theirs: of the same images, [B, F'].
    """
    mine, other = (_likeness(features.double()) for features in (ours, theirs))
    return float((mine * other).sum() / (mine.norm() * other.norm()))


def _likeness(features: Tensor) -> Tensor:
    directions = F.normalize(features - features.mean(dim=0), dim=1)
    return directions @ directions.T


def _chunks(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [numbers[at : at + _CHUNK] for at in range(0, len(numbers), _CHUNK)]
