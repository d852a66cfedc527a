"""Transformers whose blocks are used several times over: MiniViT's weight multiplexing, and its folders.

Attention and feed-forward matrices are shared by all uses of a block; every use has its own norms and its own small
transformations, which start as the identity (Zhang et al., 2022).

Legend: B batch, N tokens, D embed_dim, H heads.
"""

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from wecolora.errors import ExportFailed, InvalidCheckpoint
from wecolora.teachers import read_state
from wecolora.torchvision_compat import timm

_USES = "multiplexed_uses"
_KERNEL = 3  # patches on a side that the convolution before the feed-forward network sees


class BlockUse(nn.Module):
    """What one use of a shared block has for itself.

    Args:
        block: a plain timm block, whose norms and scales are copied.
        num_heads: H.
        width: D.
    """

    def __init__(self, block: nn.Module, num_heads: int, width: int) -> None:
        super().__init__()
        source = cast("Any", block)
        self.norm1, self.norm2 = copy.deepcopy(source.norm1), copy.deepcopy(source.norm2)
        self.ls1, self.ls2 = copy.deepcopy(source.ls1), copy.deepcopy(source.ls2)
        self.q_norm, self.k_norm = copy.deepcopy(source.attn.q_norm), copy.deepcopy(source.attn.k_norm)
        self.before_softmax = nn.Conv2d(num_heads, num_heads, 1, bias=False)
        self.after_softmax = nn.Conv2d(num_heads, num_heads, 1, bias=False)
        self.neighbours = nn.Conv2d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width, bias=False)
        nn.init.dirac_(self.before_softmax.weight)
        nn.init.dirac_(self.after_softmax.weight)
        nn.init.dirac_(self.neighbours.weight, groups=width)


class MultiplexedBlock(nn.Module):
    """A block that is used several times in a row.

    Args:
        block: a plain timm block; its attention and feed-forward network become the shared ones.
        uses: plain blocks to copy the norms and scales of the uses from, one a use.
        grid: rows and columns of patches.
        prefix_tokens: class and register tokens before the patches.
    """

    def __init__(
        self, block: nn.Module, uses: Sequence[nn.Module], grid: tuple[int, int], prefix_tokens: int
    ) -> None:
        super().__init__()
        source = cast("Any", block)
        self.attn, self.mlp = source.attn, source.mlp
        self.grid, self.prefix_tokens = grid, prefix_tokens
        heads, width = int(source.attn.num_heads), int(source.attn.qkv.in_features)
        self.uses = nn.ModuleList([BlockUse(use, heads, width) for use in uses])
        # Every use has its own.
        self.attn.q_norm, self.attn.k_norm = nn.Identity(), nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """All uses, one after the other, [B, N, D] to [B, N, D]."""
        for each in self.uses:
            use = cast("BlockUse", each)
            tokens = tokens + use.ls1(self._attend(use, use.norm1(tokens)))
            tokens = tokens + use.ls2(self.mlp(self._mix_neighbours(use, use.norm2(tokens))))
        return tokens

    def _attend(self, use: BlockUse, tokens: Tensor) -> Tensor:
        """Attention with linear maps over the heads before and after the softmax (Zhang et al., 2022)."""
        attention = self.attn
        B, N, _ = tokens.shape
        stacked = attention.qkv(tokens).reshape(B, N, 3, attention.num_heads, attention.head_dim)
        queries, keys, values = stacked.permute(2, 0, 3, 1, 4).unbind(0)
        queries, keys = use.q_norm(queries) * attention.scale, use.k_norm(keys)
        weights = use.before_softmax(queries @ keys.transpose(-2, -1)).softmax(dim=-1)
        mixed = use.after_softmax(weights) @ values
        mixed = attention.norm(mixed.transpose(1, 2).reshape(B, N, -1))
        return cast("Tensor", attention.proj(mixed))

    def _mix_neighbours(self, use: BlockUse, tokens: Tensor) -> Tensor:
        """Depth-wise convolution over the grid of patches; the tokens before them stay as they are."""
        prefix, patches = tokens[:, : self.prefix_tokens], tokens[:, self.prefix_tokens :]
        image = patches.transpose(1, 2).reshape(len(tokens), -1, *self.grid)
        mixed = use.neighbours(image).flatten(2).transpose(1, 2)
        return torch.cat([prefix.to(mixed.dtype), mixed], dim=1)


def multiplex(model: nn.Module, uses: Sequence[Sequence[nn.Module]]) -> nn.Module:
    """Put a multiplexed block in the place of every block of a plain timm vision transformer.

    Args:
        model: of M blocks; changed in place.
        uses: of every block: plain blocks to copy the norms and scales of its uses from.
    """
    vit = cast("Any", model)
    rows, columns = vit.patch_embed.grid_size
    vit.blocks = nn.Sequential(
        *(
            MultiplexedBlock(block, sources, (int(rows), int(columns)), int(vit.num_prefix_tokens))
            for block, sources in zip(list(vit.blocks), uses, strict=True)
        )
    )
    return model


def export_multiplexed(student: nn.Module, folder: Path, provenance: Mapping[str, object]) -> Path:
    """Write ``config.json`` and ``model.safetensors``, load them back (`load_multiplexed`) and compare every tensor.

    The folder appears whole or not at all. timm alone cannot load it: its networks share no weights.

    Args:
        student: made by `multiplex`.
        folder: to write; an older one is replaced.
        provenance: JSON values, kept under ``wecolora`` in the configuration.

    Raises:
        ExportFailed: when the written folder does not load as this student; nothing is delivered then.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    blocks = [cast("MultiplexedBlock", block) for block in cast("nn.Sequential", student.blocks)]
    timm.models.save_for_hf(
        student,
        str(partial),
        model_config={_USES: [len(block.uses) for block in blocks], "wecolora": dict(provenance)},
        model_args={"depth": len(blocks)},
        safe_serialization=True,
    )
    (partial / "model.safetensors").chmod(0o644)
    try:
        theirs = load_multiplexed(partial).state_dict()
        for name, tensor in student.state_dict().items():
            if name not in theirs or not torch.equal(tensor.cpu(), theirs[name]):
                raise ExportFailed(str(folder), f"tensor {name!r} differs")
    except (InvalidCheckpoint, ExportFailed) as error:
        shutil.rmtree(partial)
        raise ExportFailed(str(folder), str(error)) from error
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)
    return folder


def is_multiplexed(folder: Path) -> bool:
    """Whether a folder holds a multiplexed student."""
    try:
        return _USES in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError, TypeError):
        return False


def load_multiplexed(folder: Path) -> nn.Module:
    """Rebuild a multiplexed student, in fp32 on the CPU, in eval mode. Only JSON and safetensors are read.

    Args:
        folder: that `export_multiplexed` wrote.

    Raises:
        InvalidCheckpoint: the folder holds no such student, or its tensors do not fit.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        model: nn.Module = timm.create_model(config["architecture"], **config["model_args"])
        uses = [int(count) for count in config[_USES]]
        blocks = list(cast("nn.Sequential", model.blocks))
        multiplex(model, [[block] * count for block, count in zip(blocks, uses, strict=True)])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, AssertionError) as error:
        raise InvalidCheckpoint(
            str(folder), f"its config.json does not describe a multiplexed student ({error})"
        ) from error
    cast("dict[str, Any]", model.pretrained_cfg).update(
        {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in config["pretrained_cfg"].items()
        }
    )
    try:
        model.load_state_dict(read_state(folder / "model.safetensors"))
    except RuntimeError as error:
        reason = str(error).splitlines()
        raise InvalidCheckpoint(str(folder), reason[-1].strip().rstrip(".")) from error
    return model.float().eval()
