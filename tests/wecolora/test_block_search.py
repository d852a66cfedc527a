"""Blocks chosen for the refit, by how alike student and teacher find images that no refit saw."""

import pytest
import torch

from tests.wecolora.conftest import SHAPE, make_teacher, run, write_images
from tests.wecolora.test_families import family  # noqa: F401  (a fixture)
from wecolora import DistillConfig, block_search, errors
from wecolora.block_runner import BlockRunner, Ending
from wecolora.block_search import linear_cka, search_blocks
from wecolora.blocks import plan_blocks, select_blocks
from wecolora.families import describe_model
from wecolora.images import load_images
from wecolora.pooling import pool
from wecolora.teachers import image_size_of, preprocessing_of
from wecolora.views import AugmentedImages

CPU = torch.device("cpu")


def views_of(teacher, folder, count):
    found = load_images(write_images(folder, count), image_size_of(teacher))
    return AugmentedImages(found, preprocessing_of(teacher), seed=0)


@pytest.fixture
def idle(teacher):
    """Blocks 1 and 4 of six do nothing, the others much."""
    with torch.no_grad():
        for number, block in enumerate(teacher.blocks):
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight.mul_(0 if number in (1, 4) else 3)
                layer.bias.mul_(0 if number in (1, 4) else 3)
    return teacher


def test_blocks_that_do_nothing_are_left_for_those_that_do(idle, tmp_path):
    heard = []
    views = views_of(idle, tmp_path / "many", 320)
    kept = search_blocks(idle, views, (0, 1, 4, 5), CPU, on_progress=lambda *done: heard.append(done))
    assert kept == (0, 2, 3, 5)
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert search_blocks(idle, views, (0, 1, 4, 5), CPU) == kept


def test_too_few_images_leave_the_rule_s_blocks_and_the_report_says_so(idle, tmp_path):
    views = views_of(idle, tmp_path / "few", 299)
    assert search_blocks(idle, views, (0, 1, 4, 5), CPU) is None
    report = run(idle, tmp_path / "few", tmp_path / "out", recipe="best", epochs=1).report
    assert report["student"]["blocks"] == [1, 3, 5]
    assert "blocks were not searched for, which takes 300 images" in " ".join(report["notes"])


def test_a_run_searches_and_its_report_names_the_blocks(idle, tmp_path):
    images = write_images(tmp_path / "many", 320)
    report = run(idle, images, tmp_path / "out", recipe="best", epochs=1).report
    blocks = report["student"]["blocks"]
    assert len(blocks) == 3
    assert blocks[-1] == 5
    assert not {1, 4} & set(blocks)
    assert report["notes"] == []
    assert [fit["end"] for fit in report["refit"]] == [blocks[1] - 1, blocks[2] - 1, 5]


def test_the_search_runs_on_every_family(family, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(block_search, "LEAST_IMAGES", 14)
    teacher, _ = family
    kept = search_blocks(teacher, views_of(teacher, tmp_path / "few", 14), (1, 4), CPU)
    assert len(kept) == 2
    assert 0 <= kept[0] < kept[1] == 4


def test_the_ending_gives_the_network_s_own_features(family):  # noqa: F811
    model, images = family
    runner = BlockRunner(model, images[:1])
    with torch.no_grad():
        tokens = runner.enter(images)
        for index in range(len(runner.blocks)):
            tokens = runner.run(index, tokens)
        assert torch.allclose(Ending(model, images[:1])(tokens), pool(model, images), atol=1e-5)


def test_blocks_without_a_closed_form_are_refused(tmp_path):
    teacher = make_teacher("vit_relpos_base_patch32_plus_rpn_256", img_size=64, depth=4, **SHAPE)
    with pytest.raises(errors.UnsupportedArchitecture, match="init=copy"):
        search_blocks(teacher, views_of(teacher, tmp_path / "few", 4), (1, 3), CPU)


@pytest.mark.parametrize(
    ("depth", "r", "blocks"),
    [
        (12, 2, (1, 3, 5, 7, 9, 11)),
        (12, 3, (1, 4, 7, 11)),
        (12, 1, tuple(range(12))),
        (12, 12, (11,)),
        (7, 3, (1, 6)),
    ],
)
def test_the_middle_of_every_group_and_the_last_block(depth, r, blocks, teacher):
    assert select_blocks(depth, r, "middle-of-group") == blocks
    assert plan_blocks(describe_model(teacher), DistillConfig(compression_factor=2)) == (1, 3, 5)


def test_likeness_knows_no_rotation_nor_scale_but_knows_other_features():
    generator = torch.Generator().manual_seed(0)
    features, others = torch.randn(2, 50, 8, generator=generator)
    turned = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    assert linear_cka(features, 3 * features @ turned + 5) == pytest.approx(1)
    assert linear_cka(features, features + 0.3 * others) > linear_cka(features, features + others) > 0.3
    assert linear_cka(features, others) < 0.5
