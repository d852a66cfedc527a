"""Masked autoencoding (He et al., 2022): a transformer on the visible patches only, and a decoder for the others.

Legend: B batch, P patches, V visible patches, W masked patches (P = V + W), T tokens before the patches (class token
and registers), D embed_dim.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from wecolora.schedule import Key, mix_seed
from wecolora.torchvision_compat import timm

# MAE's decoder for a ViT-B: 8 blocks, 512 wide where the encoder is 768, 16 heads of 32.
DECODER_DEPTH = 8
_HEAD_WIDTH = 32
_SALT = 0x3A5C  # tells the masks' random numbers from those of the views


class PatchSelection(nn.Module):
    """Keeps some of the patches; stands where timm drops patches in training.

    Args:
        keep: numbers of the patches to keep, [B, V].
        prefix_tokens: T.
        with_numbers: whether the network expects to be told which were kept.
    """

    def __init__(self, keep: Tensor, prefix_tokens: int, with_numbers: bool) -> None:
        super().__init__()
        self.keep = keep
        self.prefix_tokens = prefix_tokens
        self.with_numbers = with_numbers

    def forward(self, tokens: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """[B, T + P, D] to [B, T + V, D]."""
        prefix, patches = tokens[:, : self.prefix_tokens], tokens[:, self.prefix_tokens :]
        # Indexing has a deterministic backward pass on a GPU, gather has not.
        rows = torch.arange(len(patches), device=patches.device)[:, None]
        kept = torch.cat([prefix, patches[rows, self.keep]], dim=1)
        return (kept, self.keep) if self.with_numbers else kept


def draw_masks(keys: Sequence[Key], seed: int, patches: int, visible: int) -> tuple[Tensor, Tensor]:
    """Which patches of every view are seen: a function of (seed, view, image) alone.

    Args:
        keys: of the views, B of them.
        seed: of the run.
        patches: P.
        visible: V.

    Returns:
        Numbers of the visible patches, [B, V], and of the masked ones, [B, W], ascending.
    """
    orders = []
    for view, image in keys:
        generator = torch.Generator().manual_seed(mix_seed(seed, _SALT, view, image))
        orders.append(torch.randperm(patches, generator=generator))
    shuffled = torch.stack(orders)
    return shuffled[:, :visible].sort(dim=1).values, shuffled[:, visible:].sort(dim=1).values


def encode_visible(
    model: nn.Module, images: Tensor, keep: Tensor, block: int, only_block: bool = False
) -> tuple[Tensor, Tensor]:
    """Run a transformer on some of the patches.

    Args:
        model: a timm vision transformer (plain or EVA).
        images: normalised, [B, 3, S, S].
        keep: numbers of the patches to keep, [B, V].
        block: whose output is wanted, counted from 0.
        only_block: stop there.

    Returns:
        Tokens after that block, and normed tokens at the end (the same tokens again with ``only_block``), [B, T + V, D]
        each.
    """
    network = cast("Any", model)
    prefix = int(network.num_prefix_tokens)
    with _seeing(network, keep):
        result = network.forward_intermediates(
            images,
            indices=[block],
            return_prefix_tokens=prefix > 0,
            output_fmt="NLC",
            stop_early=only_block,
            intermediates_only=only_block,
        )
    intermediates = result if only_block else result[1]
    inner: Tensor = torch.cat(intermediates[0][::-1], dim=1) if prefix else intermediates[0]
    # Networks that norm after pooling have the norm's weights there.
    return inner, inner if only_block else network.fc_norm(result[0])


@contextmanager
def _seeing(network: Any, keep: Tensor) -> Iterator[None]:
    before = network.patch_drop
    # EVA's rotary positions must follow the selection.
    with_numbers = isinstance(network, timm.models.Eva)
    network.patch_drop = PatchSelection(keep, int(network.num_prefix_tokens), with_numbers)
    try:
        yield
    finally:
        network.patch_drop = before


class PixelDecoder(nn.Module):
    """Predicts the pixels of the masked patches from the tokens of the visible ones.

    Args:
        embed_dim: D.
        grid: rows and columns of patches.
        prefix_tokens: T.
        patch_pixels: numbers in a patch, all channels.
    """

    positions: Tensor

    def __init__(self, embed_dim: int, grid: tuple[int, int], prefix_tokens: int, patch_pixels: int) -> None:
        super().__init__()
        heads = max(1, round(embed_dim * 2 / 3 / _HEAD_WIDTH))
        width = heads * _HEAD_WIDTH
        self.prefix_tokens = prefix_tokens
        self.embed = nn.Linear(embed_dim, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.mask_token, std=0.02)
        positions = timm.layers.build_sincos2d_pos_embed(list(grid), width)
        self.register_buffer("positions", positions, persistent=False)
        block = timm.models.vision_transformer.Block
        self.blocks = nn.Sequential(*(block(width, heads, qkv_bias=True) for _ in range(DECODER_DEPTH)))
        self.norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, patch_pixels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, keep: Tensor, masked: Tensor) -> Tensor:
        """Pixels of the masked patches, [B, W, patch_pixels].

        Args:
            tokens: [B, T + V, D].
            keep: numbers of the visible patches, [B, V].
            masked: numbers of the masked ones, [B, W].
        """
        embedded = self.embed(tokens)
        prefix, visible = embedded[:, : self.prefix_tokens], embedded[:, self.prefix_tokens :]
        # The order of tokens means nothing to a transformer, only their positions do: nothing need be unshuffled.
        asked = self.mask_token + self.positions[masked]
        sequence = torch.cat([prefix.float(), visible + self.positions[keep], asked], dim=1)
        decoded = self.norm(self.blocks(sequence))
        return cast("Tensor", self.predict(decoded[:, -masked.shape[1] :]))


def cut_into_patches(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pixels of every patch, [B, P, 3 · pixels], of images, [B, 3, S, S]."""
    rows, columns = grid
    B, channels, height, width = images.shape
    cut = images.reshape(B, channels, rows, height // rows, columns, width // columns)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(B, rows * columns, -1)


def normalise_patches(pixels: Tensor) -> Tensor:
    """Every patch with mean 0 and variance 1, as MAE's better targets; [B, P, pixels] to the same."""
    variance, mean = torch.var_mean(pixels, dim=-1, keepdim=True)
    return (pixels - mean) / (variance + 1e-6).sqrt()
