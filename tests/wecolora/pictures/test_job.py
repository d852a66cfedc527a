"""The page of a real run."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.wecolora.conftest import SHAPE, make_teacher, run, write_images
from tests.wecolora.pictures.test_page import read
from tests.wecolora.test_probe import write_classes
from wecolora import PageInputs, TeacherSpec, errors, write_report_page


@pytest.fixture
def finished(teacher_folder, images, tmp_path):
    """A run's folder."""
    run(teacher_folder, images, tmp_path / "run")
    return tmp_path / "run"


def test_the_run_alone_gives_curves_and_says_what_would_bring_the_rest(teacher_folder, images, tmp_path):
    (images / "broken <i>.png").write_text("no image")
    run(teacher_folder, images, tmp_path / "run")
    written = write_report_page(tmp_path / "run")
    reader, text = read(written.page.read_text())
    assert reader.tags.count("img") == 1
    assert "6 → 3 blocks" in text
    assert "broken <i>.png" in text
    assert 'timm.create_model("local-dir:student", pretrained=True)' in text
    assert sorted(path.name for path in written.files) == ["training.json", "training.png"]
    remedies = " ".join(each.remedy for each in written.left_out)
    assert all(option in remedies for option in ("--teacher", "--train", "--test", "--images"))


def test_all_inputs_give_all_parts(finished, teacher_folder, tmp_path):
    inputs = PageInputs(
        teacher=TeacherSpec(str(teacher_folder)),
        train=write_classes(tmp_path / "train", count=6),
        test=write_classes(tmp_path / "test", count=4, seed=1),
        images=tuple(sorted(write_images(tmp_path / "chosen", 2).iterdir())),
        batch_sizes=(2,),
        device="cpu",
    )
    written = write_report_page(finished, inputs)
    assert written.left_out == ()
    assert {path.name for path in written.files} == {
        *(f"{key}.{kind}" for key in ("training", "tsne", "attention") for kind in ("png", "json")),
        "tsne.jpg",
        "attention.jpg",
        "cost.json",
        "evaluation.json",
    }
    reader, text = read(written.page.read_text())
    assert reader.tags.count("img") == 3
    assert "100.0 % (100.0 to 100.0)" in text
    assert "Inference by batch size" in text
    maps = json.loads((finished / "pictures" / "tsne.json").read_text())
    assert [model["name"] for model in maps["models"]] == ["teacher", "student"]
    assert maps["files"][0] == "class0/0.png"
    with Image.open(finished / "pictures" / maps["sheet"]["file"]) as thumbnails:
        columns, side = maps["sheet"]["columns"], maps["sheet"]["tile_pixels"]
        assert thumbnails.size == (columns * side, -(-len(maps["files"]) // columns) * side)
        assert not thumbnails.getexif()
        row, column = divmod(len(maps["files"]) - 1, columns)
        tile = thumbnails.crop((column * side, row * side, (column + 1) * side, (row + 1) * side))
    # The last tile is the last image, and not the white behind it.
    last = Image.open(tmp_path / "test" / maps["files"][-1]).convert("RGB").resize((side, side))
    assert np.abs(np.asarray(tile, float) - np.asarray(last, float)).mean() < 20
    assert str(tmp_path) not in written.page.read_text(), "no path of this machine"


def test_labels_to_test_on_alone_give_the_students_latent_space(finished, tmp_path):
    written = write_report_page(finished, PageInputs(test=write_classes(tmp_path / "test", count=4)))
    assert (finished / "pictures" / "tsne.png").is_file()
    assert any("--train" in each.remedy for each in written.left_out)
    maps = json.loads((finished / "pictures" / "tsne.json").read_text())
    assert [model["name"] for model in maps["models"]] == ["student"]
    assert len(maps["files"]) == 12


def test_no_more_points_than_wanted_are_drawn_and_the_page_says_how_many(finished, tmp_path):
    labelled = write_classes(tmp_path / "test", count=4)
    written = write_report_page(finished, PageInputs(test=labelled, most_points=9))
    maps = json.loads((finished / "pictures" / "tsne.json").read_text())
    assert (len(maps["files"]), maps["images_found"]) == (9, 12)
    assert "9 of 12 test images" in read(written.page.read_text())[1]


def test_what_cannot_be_used_is_refused_and_no_page_is_written(finished, tmp_path):
    with pytest.raises(errors.NoRun, match="no readable report"):
        write_report_page(tmp_path)
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(errors.NoRun):
        write_report_page(tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    with pytest.raises(errors.UnreadableImage):
        write_report_page(finished, PageInputs(images=(broken,)))
    assert not (finished / "report.html").exists()


def test_a_student_that_timm_cannot_load_gets_a_page_too(teacher_folder, images, tmp_path):
    run(teacher_folder, images, tmp_path / "run", method="minivit", epochs=1)
    chosen = tuple(sorted(write_images(tmp_path / "chosen", 1).iterdir()))
    inputs = PageInputs(
        TeacherSpec(str(teacher_folder)),
        test=write_classes(tmp_path / "test", count=4),
        images=chosen,
        batch_sizes=(),
    )
    written = write_report_page(tmp_path / "run", inputs)
    _, text = read(written.page.read_text())
    assert 'import wecolora model = wecolora.load_student("student")' in text
    assert (tmp_path / "run" / "pictures" / "tsne.png").is_file()


def test_attention_that_cannot_be_read_is_left_out_with_the_reason(images, tmp_path):
    teacher = make_teacher(
        "vit_tiny_patch16_224", depth=4, img_size=32, patch_size=8, attn_layer="diff", **SHAPE
    )
    run(teacher, images, tmp_path / "run", epochs=1)
    chosen = tuple(sorted(write_images(tmp_path / "chosen", 1).iterdir()))
    written = write_report_page(tmp_path / "run", PageInputs(images=chosen))
    assert any("computes 2 attention matrices" in each.remedy for each in written.left_out)
