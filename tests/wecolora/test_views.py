"""Augmented views: those of torchvision's transforms, whether Pillow makes them or products with filter weights."""

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling

import wecolora
from tests.wecolora.conftest import write_images
from wecolora.images import Preprocessing, load_images
from wecolora.resampling import resampled
from wecolora.schedule import mix_seed
from wecolora.torchvision_compat import v2
from wecolora.views import AugmentedImages

CPU = torch.device("cpu")
GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))
SIZES = [(9, 40), (64, 64), (33, 70), (120, 31), (200, 180), (1, 1)]  # height, width


@pytest.mark.parametrize("size", [(64, 48), (40, 200), (600, 40), (33, 33)])
@pytest.mark.parametrize("smallest_crop", [0.2, 1.0])
def test_views_are_those_of_torchvisions_transforms(tmp_path, size, smallest_crop):
    loaded = load_images(write_images(tmp_path, 2, size=size), 32, smallest_crop=smallest_crop)
    preprocessing = Preprocessing(32)
    views = AugmentedImages(loaded, preprocessing, seed=5, smallest_crop=smallest_crop)
    theirs = v2.Compose(
        [
            v2.RandomResizedCrop(32, scale=(smallest_crop, 1.0), interpolation=preprocessing.filter),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=list(preprocessing.mean), std=list(preprocessing.std)),
        ]
    )
    keys = [(view, index) for view in range(6) for index in range(2)]
    batch = views.batch(keys)
    for key, view in zip(keys, batch, strict=True):
        torch.manual_seed(mix_seed(5, *key))
        assert torch.equal(view, theirs(loaded.image(key[1])))
        assert torch.equal(view, views[key])


def test_a_view_depends_on_seed_epoch_and_image_alone(tmp_path):
    loaded = load_images(write_images(tmp_path, 4), 32)
    views = AugmentedImages(loaded, Preprocessing(32), seed=5)
    torch.manual_seed(1)
    first = views[(0, 2)]
    torch.manual_seed(2)
    assert torch.equal(first, views[(0, 2)])
    assert not torch.equal(first, views[(1, 2)])
    assert not torch.equal(first, AugmentedImages(loaded, Preprocessing(32), seed=6)[(0, 2)])
    assert first.shape == (3, 32, 32)


def crops_among_others(sizes=SIZES):
    """Crops of noise and of coarse squares, in the corner of an array whose rest is noise, too."""
    generator = np.random.default_rng(0)
    together = generator.integers(0, 256, (len(sizes), 200, 180, 3), dtype=np.uint8)
    for number, (height, width) in enumerate(sizes):
        if number % 2:
            coarse = generator.integers(0, 256, (1 + height // 9, 1 + width // 9, 3), dtype=np.uint8)
            together[number, :height, :width] = coarse.repeat(9, 0).repeat(9, 1)[:height, :width]
    return together, [together[number, :high, :wide] for number, (high, wide) in enumerate(sizes)]


def by_products(together, side, kind, device=CPU, dtype=torch.float32):
    heights, widths = torch.tensor(SIZES, device=device).T
    views = resampled(torch.from_numpy(together).to(device), heights, widths, side, kind, dtype)
    return views.permute(0, 2, 3, 1).cpu().numpy().astype(int)


def by_pillow_in_floats(crop, side, kind):
    channels = [Image.fromarray(crop[..., channel].astype(np.float32)) for channel in range(3)]
    resized = np.stack([np.asarray(channel.resize((side, side), kind)) for channel in channels], axis=-1)
    return np.floor(resized + 0.5).clip(0, 255).astype(int)


@pytest.mark.parametrize(
    "kind", [Resampling[name] for name in ("BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")]
)
@pytest.mark.parametrize("side", [32, 96])
def test_products_resample_as_pillow_does_in_floats(kind, side):
    together, crops = crops_among_others()
    differences = np.abs(
        by_products(together, side, kind)
        - np.stack([by_pillow_in_floats(crop, side, kind) for crop in crops])
    )
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.01


def test_the_nearest_pixel_is_pillows():
    together, crops = crops_among_others()
    theirs = np.stack(
        [np.asarray(Image.fromarray(crop).resize((48, 48), Resampling.NEAREST)) for crop in crops]
    )
    # Half way between two pixels, rounding decides.
    assert (by_products(together, 48, Resampling.NEAREST) != theirs).mean() < 0.02


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_half_precision_moves_a_level_by_one(device):
    together, _ = crops_among_others()
    exact = by_products(together, 96, Resampling.BICUBIC)
    halved = by_products(together, 96, Resampling.BICUBIC, torch.device(device), torch.float16)
    assert np.abs(halved - exact).max() <= 1
    assert (halved != exact).mean() < 0.1


@pytest.fixture
def views(tmp_path):
    write_images(tmp_path, 3, size=(150, 110))
    write_images(tmp_path / "tall", 3, size=(70, 200), seed=1)
    return AugmentedImages(load_images(tmp_path, 48), Preprocessing(48), seed=3)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_a_gpus_views_show_what_pillows_show(views, device):
    keys = [(view, index) for view in range(7) for index in range(6)]  # more than are resampled together
    theirs, ours = views.by_pillow(keys), views.by_products(keys, torch.device(device)).cpu()
    differences = (ours.int() - theirs.int()).abs()
    assert ours.shape == theirs.shape
    assert differences.max() <= 6  # where noise makes Pillow's first pass overshoot, which it clips
    assert differences.float().mean() < 0.4
    assert any(views.crop(key).flipped for key in keys)


def test_a_student_is_the_same_whoever_makes_its_views(teacher, tmp_path, monkeypatch):
    images = write_images(tmp_path, 24)
    settings = {"recipe": "paper", "lora_rank": 8, "batch_size": 8, "epochs": 2, "device": "cpu"}
    plain = wecolora.distill(teacher, images, **settings)

    def batch(self, keys, device=CPU):
        return self.normalise(self.by_products(keys, device))

    monkeypatch.setattr(AugmentedImages, "batch", batch)
    other = wecolora.distill(teacher, images, **settings)
    losses = [result.report["training"]["final_loss"] for result in (plain, other)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
