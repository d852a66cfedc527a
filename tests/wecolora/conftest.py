"""Small real networks and real image files for the engine's tests."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

import wecolora

SHAPE = {"embed_dim": 48, "num_heads": 3}


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors are slower on many threads, and several tests share the machine; what is random is so by a seed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def make_teacher(architecture: str = "vit_tiny_patch16_224", **arguments: object) -> nn.Module:
    """A small network with weights far from their initial zeros and ones, so that every part matters."""
    generator = torch.Generator().manual_seed(7)
    model = timm.create_model(architecture, **arguments).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return model.requires_grad_(False)


@pytest.fixture
def teacher() -> nn.Module:
    """Six blocks, 16 patches of 8 pixels, 5 classes."""
    return make_teacher(depth=6, img_size=32, patch_size=8, num_classes=5, **SHAPE)


@pytest.fixture
def teacher_folder(teacher, tmp_path) -> Path:
    """The same as a timm folder."""
    folder = tmp_path / "teacher"
    timm.models.save_for_hf(teacher, str(folder), safe_serialization=True)
    return folder


def write_images(folder: Path, count: int, seed: int = 0, size: tuple[int, int] = (40, 36)) -> Path:
    """Coloured gradients with noise, as PNG files."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    for number in range(count):
        slopes = generator.uniform(-4, 4, size=(2, 3))
        pixels = 128 + rows[..., None] * slopes[0] + columns[..., None] * slopes[1]
        pixels = pixels + generator.normal(0, 12, size=pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"image{number:03d}.png")
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    """Twenty-four images."""
    return write_images(tmp_path / "images", 24)


def run(teacher, images, out, **options):
    """A short distillation."""
    settings = {
        "recipe": "paper",
        "compression_factor": 2,
        "lora_rank": 8,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
    }
    return wecolora.distill(teacher, images, out=out, **(settings | options))
