"""What all three baselines must do, and runs of them."""

import json

import pytest
import torch
from safetensors.torch import load_file

import wecolora
from tests.wecolora.conftest import SHAPE, make_teacher, write_images
from wecolora import errors


def headless(architecture="vit_small_patch14_dinov2", **arguments):
    """A self-supervised teacher: no classes, scaled branches; with registers if asked."""
    return make_teacher(architecture, depth=4, img_size=28, patch_size=7, num_classes=0, **SHAPE, **arguments)


def distil(method, teacher, images, out, **options):
    settings = {"recipe": "paper", "epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
    return wecolora.distill(teacher, images, out=out, method=method, **(settings | options))


def tensors(out):
    return load_file(out / "student" / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def gives_the_same_features(loaded, student, size=32):
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return torch.equal(loaded.eval().forward_features(images), student.eval().forward_features(images))


def check_the_seed_alone_decides(method, teacher, images, folder, **options):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(name) + seed)  # the caller's random state must not matter
        distil(method, teacher, images, folder / name, seed=seed, **options)
    assert same(tensors(folder / "a"), tensors(folder / "b"))
    assert not same(tensors(folder / "a"), tensors(folder / "c"))


def check_stopped_and_resumed(method, teacher, images, folder, **options):
    def stop(progress):
        if progress.phase == "distilling" and progress.step == 4:
            raise errors.Interrupted(progress.step)

    distil(method, teacher, images, folder / "whole", **options)
    with pytest.raises(errors.Interrupted):
        distil(method, teacher, images, folder / "parts", on_progress=stop, **options)
    resumed = distil(method, teacher, images, folder / "parts", resume=True, **options)
    assert resumed.report["training"]["resumed_from_step"] == 4
    assert same(tensors(folder / "whole"), tensors(folder / "parts"))
    assert losses(folder / "whole") == losses(folder / "parts")


def check_micro_batches_change_rounding_only(method, teacher, images, folder, **options):
    distil(method, teacher, images, folder / "whole", batch_size=8, accumulate=1, **options)
    distil(method, teacher, images, folder / "parts", batch_size=2, accumulate=4, **options)
    assert losses(folder / "parts") == pytest.approx(losses(folder / "whole"), rel=1e-5)


def check_refused_by_name(method, teacher, folder, reason):
    with pytest.raises(errors.MethodDoesNotFit, match=reason) as caught:
        distil(method, teacher, write_images(folder / "few", 2), folder / "out")
    assert caught.value.method == method
    assert not (folder / "out" / "student").exists()
