"""Train the sample's teacher: a plain ViT of 12 narrow blocks, on the training part of the digits only.

The result is a timm folder with the classification head, ``samples/digits_teacher``, loaded by
``timm.create_model("local-dir:samples/digits_teacher", pretrained=True)``: 1.9 MB in fp32. One core takes about
five minutes; the same machine and versions give the same file, bit for bit. The last epoch's weights are kept:
the test part never chooses anything.

No stochastic depth: it would teach the network to do without single blocks, and a sample should show what
copying half of them costs and what distilling wins back.

Usage: ``python -m samples.train_digits_teacher [--out FOLDER] [--epochs 200]``

Legend: B batch, H = W = 32 pixels.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samples.digits import CLASS_NAMES, IMAGE_SIZE, Digits, load_part
from wecolora import torchvision_compat  # noqa: F401  (before timm)

import timm  # isort: skip
from timm.models import save_for_hf  # isort: skip

DEFAULT_FOLDER = Path(__file__).parent / "digits_teacher"
ARCHITECTURE = "vit_tiny_patch16_224"
MODEL_ARGS = {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": 56, "depth": 12, "num_heads": 4}
MEAN, STD = 0.5, 0.5
PRETRAINED_CFG = {
    "architecture": ARCHITECTURE,
    "tag": "digits",
    "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
    "fixed_input_size": True,
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "center",
    "mean": (MEAN,) * 3,
    "std": (STD,) * 3,
    "num_classes": len(CLASS_NAMES),
    "first_conv": "patch_embed.proj",
    "classifier": "head",
    "license": "apache-2.0",
    "description": "12 narrow ViT blocks trained on 900 of scikit-learn's handwritten digits",
}


@dataclass(frozen=True)
class Recipe:
    """How the teacher is trained; the defaults made the committed weights."""

    epochs: int = 200
    batch_size: int = 60
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    max_rotation_degrees: float = 20
    max_log_scale: float = 0.25
    max_shear: float = 0.3
    max_shift: float = 0.25
    noise: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: the mean training loss, counted from 1."""

    number: int
    loss: float


def build_model() -> nn.Module:
    """Build the untrained network."""
    model: nn.Module = timm.create_model(
        ARCHITECTURE, num_classes=len(CLASS_NAMES), pretrained_cfg=PRETRAINED_CFG, **MODEL_ARGS
    )
    return model


def to_tensors(part: Digits) -> tuple[Tensor, Tensor]:
    """Normalised RGB images [B, 3, H, W], as timm's transform makes them of the PNG files; labels [B]."""
    grey = torch.from_numpy(part.images).float() / 255
    return ((grey - MEAN) / STD)[:, None].expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(part.labels)


def train(model: nn.Module, recipe: Recipe) -> Iterator[Epoch]:
    """Train in place on the training part, yielding after every epoch."""
    images, labels = to_tensors(load_part("train"))
    generator = torch.Generator().manual_seed(recipe.seed)
    batches_per_epoch = len(images) // recipe.batch_size
    total_steps = recipe.epochs * batches_per_epoch
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _learning_rate_factor(step, total_steps, recipe.warmup_share)
    )
    model.train()
    for number in range(1, recipe.epochs + 1):
        total = 0.0
        order = torch.randperm(len(images), generator=generator)
        for batch in order[: batches_per_epoch * recipe.batch_size].view(batches_per_epoch, -1):
            logits = model(augment(images[batch], recipe, generator))
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            schedule.step()
            total += loss.item()
        yield Epoch(number, total / batches_per_epoch)
    model.eval()


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Rotate, stretch, shear and shift each image a little and add noise; flips would change digits.

    Args:
        images: [B, 3, H, W], black is -1.
        recipe: the ranges.
        generator: the only source of chance.

    Returns:
        [B, 3, H, W].
    """

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=generator) * 2 - 1) * limit

    angle = uniform(math.radians(recipe.max_rotation_degrees))
    scale_x, scale_y = uniform(recipe.max_log_scale).exp(), uniform(recipe.max_log_scale).exp()
    shear = uniform(recipe.max_shear)
    shift_x, shift_y = uniform(recipe.max_shift), uniform(recipe.max_shift)
    row_x = torch.stack([angle.cos() * scale_x, shear - angle.sin() * scale_y, shift_x], dim=1)
    row_y = torch.stack([angle.sin() * scale_x, angle.cos() * scale_y, shift_y], dim=1)
    grid = F.affine_grid(torch.stack([row_x, row_y], dim=1), list(images.shape), align_corners=False)
    # grid_sample fills with 0, and the ground of a digit is black: shift it there and back.
    moved = F.grid_sample(images + 1, grid, align_corners=False) - 1
    return moved + recipe.noise * torch.randn(moved[:, :1].shape, generator=generator)


@torch.inference_mode()
def accuracy(model: nn.Module, part: Digits) -> float:
    """Share of a part's images that the model's head gets right."""
    images, labels = to_tensors(part)
    return float((model.eval()(images).argmax(dim=1) == labels).float().mean())


def save(model: nn.Module, folder: Path) -> None:
    """Write the timm folder: ``config.json`` and ``model.safetensors``."""
    save_for_hf(
        model,
        folder,
        model_config={"label_names": list(CLASS_NAMES)},
        model_args=MODEL_ARGS,
        safe_serialization=True,
    )


def _learning_rate_factor(step: int, total_steps: int, warmup_share: float) -> float:
    """Linear warm-up times a half cosine to zero."""
    warmup = min(1.0, (step + 1) / max(1.0, total_steps * warmup_share))
    return warmup * 0.5 * (1 + math.cos(math.pi * step / total_steps))


def main() -> None:
    """Train, say how good the head is on the test part, and save."""
    parser = argparse.ArgumentParser(description="Train the sample's teacher on the handwritten digits.")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # sums in another order are other sums
    torch.use_deterministic_algorithms(True)
    recipe = Recipe(epochs=arguments.epochs)
    torch.manual_seed(recipe.seed)
    model = build_model()
    for epoch in train(model, recipe):
        if epoch.number % 10 == 0 or epoch.number == recipe.epochs:
            print(f"epoch {epoch.number}/{recipe.epochs}  loss {epoch.loss:.3f}", flush=True)  # noqa: T201
    print(f"test accuracy of the head: {accuracy(model, load_part('test')):.4f}")  # noqa: T201
    save(model, arguments.out)
    print(f"saved to {arguments.out}")  # noqa: T201


if __name__ == "__main__":
    main()
