"""Attention over chosen images."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.wecolora.conftest import write_images
from wecolora import copy_weights, errors
from wecolora.pictures.attention import draw_attention, make_attention, overlay
from wecolora.pictures.figures import DARK, LIGHT, to_png


@pytest.fixture
def models(teacher):
    return {"teacher": teacher, "student": copy_weights(teacher, [1, 3, 5])}


def test_teacher_and_student_are_drawn_beside_each_image(models, tmp_path):
    files = sorted(write_images(tmp_path, 3).iterdir())
    maps = make_attention(models, files)
    assert maps.models == ("teacher", "student")
    assert [len(grids) for grids in maps.grids] == [3, 3]
    assert all(grid.shape == (4, 4) and grid.max() == 1 for grids in maps.grids for grid in grids)
    assert maps.views[0].shape == (32, 32, 3)
    pictures = [to_png(draw_attention(maps, theme)) for theme in (LIGHT, DARK)]
    assert pictures[0] != pictures[1]
    data = json.loads(json.dumps(maps.to_dict()))
    assert data["images"][0]["file"] == files[0].name
    assert np.shape(data["images"][2]["grids"]["student"]) == (4, 4)
    assert data["readouts"] == {"teacher": "class token", "student": "class token"}


def test_the_view_is_the_middle_of_the_image_and_the_crop_says_which(models, tmp_path):
    """A wide image, red on the left half, blue on the right: a square from the middle has both in equal parts."""
    pixels = np.zeros((40, 120, 3), dtype=np.uint8)
    pixels[:, :60, 0] = pixels[:, 60:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    maps = make_attention(models, [tmp_path / "wide.png"])
    left, top, right, bottom = maps.crops[0]
    assert left == pytest.approx(1 - right)
    assert top == pytest.approx(1 - bottom)
    assert (right - left) * 120 == pytest.approx((bottom - top) * 40)
    red, _, blue = maps.views[0].reshape(-1, 3).mean(axis=0)
    assert red == pytest.approx(blue, rel=0.1)


def test_attention_colours_the_place_that_is_looked_at():
    view = np.full((40, 40, 3), 120, dtype=np.uint8)
    grid = np.zeros((4, 4))
    grid[0, 3] = 1
    laid = overlay(view, grid).astype(int)
    assert laid.shape == view.shape
    assert np.ptp(laid[:, :, :][4, 36]) > 40, "the place is in colour"
    assert np.ptp(laid[36, 4]) <= 1, "elsewhere it is grey"


def test_models_are_left_in_their_mode(models, tmp_path):
    models["student"].train()
    make_attention(models, list(write_images(tmp_path, 1).iterdir()))
    assert models["student"].training
    assert not models["teacher"].training


def test_what_is_no_image_and_too_many_images_are_refused(models, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    with pytest.raises(errors.UnreadableImage, match=r"broken\.png"):
        make_attention(models, [broken])
    with pytest.raises(errors.UnreadableImage, match=r"absent\.png"):
        make_attention(models, [tmp_path / "absent.png"])
    for files in ([], [broken] * 17):
        with pytest.raises(errors.OutOfRange, match=f"images is {len(files)}: it must be from 1 to 16"):
            make_attention(models, files)
