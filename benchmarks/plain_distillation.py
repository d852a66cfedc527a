"""The method as one writes it down on an afternoon, with torch, timm and torchvision alone.

What the engine is measured against, for its speed (`distill_throughput`) and for its loss (tests): images are decoded
and augmented by loader processes at every visit, the pairs are two more linear layers beside each matrix, everything
is in float32, and every step waits for its loss. Nothing of the engine's arithmetic is used.
"""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from wecolora.torchvision_compat import InterpolationMode, v2


class PairedLinear(nn.Module):
    """W·x + b + B·(A·x): a frozen linear layer, and two more for each of the matrices stacked in it."""

    def __init__(self, base: nn.Linear, rank: int, stacked: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        width = base.out_features // stacked
        self.down = nn.ModuleList(nn.Linear(base.in_features, rank, bias=False) for _ in range(stacked))
        self.up = nn.ModuleList(nn.Linear(rank, width, bias=False) for _ in range(stacked))
        for layer in self.up:
            nn.init.zeros_(cast("nn.Linear", layer).weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_in] to [..., d_out]."""
        updates = [up(down(x)) for up, down in zip(self.up, self.down, strict=True)]
        output: Tensor = self.base(x) + torch.cat(updates, dim=-1)
        return output


def make_student(teacher: nn.Module, blocks: Sequence[int], rank: int) -> nn.Module:
    """Copies of some blocks of a timm ViT, with pairs on their four linear layers."""
    student: Any = copy.deepcopy(teacher)
    student.blocks = nn.Sequential(*(student.blocks[index] for index in blocks))
    student.requires_grad_(False)
    for block in student.blocks:
        block.attn.qkv = PairedLinear(block.attn.qkv, rank, 3)
        block.attn.proj = PairedLinear(block.attn.proj, rank, 1)
        block.mlp.fc1 = PairedLinear(block.mlp.fc1, rank, 1)
        block.mlp.fc2 = PairedLinear(block.mlp.fc2, rank, 1)
    made: nn.Module = student
    return made


def tokens(model: Any, images: Tensor) -> Tensor:
    """Tokens after the last block, before the final norm, [B, N, D]."""
    caught: list[Tensor] = []
    handle = model.blocks[-1].register_forward_hook(lambda _block, _inputs, output: caught.append(output))
    model.forward_features(images)
    handle.remove()
    return caught[0]


class PlainTrainer:
    """AdamW on the mean absolute difference of the tokens; one call a step."""

    def __init__(self, teacher: nn.Module, student: nn.Module, device: torch.device) -> None:
        self.teacher = teacher.to(device).eval().requires_grad_(False)
        self.student = student.to(device).eval()
        self.device = device
        pairs = [parameter for parameter in student.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(pairs, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05)

    def step(self, images: Tensor, learning_rate: float = 1e-3) -> float:
        """One step on a batch of normalised images; returns its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        images = images.to(self.device)
        with torch.no_grad():
            wanted = tokens(self.teacher, images)
        loss = functional.l1_loss(tokens(self.student, images), wanted)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()


class PlainImages(Dataset[Tensor]):
    """Files, decoded and augmented at every visit."""

    def __init__(self, paths: Sequence[Path], size: int, smallest_crop: float) -> None:
        self.paths = list(paths)
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(
                    size, scale=(smallest_crop, 1.0), interpolation=InterpolationMode.BICUBIC
                ),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            view: Tensor = self.transform(image.convert("RGB"))
        return view


def endless_batches(
    images: Dataset[Tensor], batch_size: int, processes: int, pinned: bool
) -> Iterator[Tensor]:
    """Shuffled batches, epoch after epoch."""
    loader = DataLoader(
        images,
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=processes,
        persistent_workers=processes > 0,
        pin_memory=pinned,
    )
    while True:
        yield from loader
