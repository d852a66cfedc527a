"""Probes of frozen features, from image files to scores."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.wecolora.conftest import SHAPE, make_teacher, write_images
from wecolora import errors, evaluate, knn_score, linear_probe
from wecolora.cli import app


def write_classes(folder, classes=3, count=12, seed=0):
    """Images whose class is their colour: any network can tell them apart."""
    generator = np.random.default_rng(seed)
    for number in range(classes):
        colour = 255 * np.eye(3)[number % 3] * (1 if number < 3 else 0.4)
        for image in range(count):
            pixels = colour + generator.normal(0, 20, size=(32, 32, 3))
            path = folder / f"class{number}" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return folder


def test_separable_classes_are_told_apart(teacher, tmp_path):
    result = linear_probe(
        teacher, write_classes(tmp_path / "train"), write_classes(tmp_path / "test", seed=1)
    )
    assert result.accuracy == 1.0
    assert (result.classes, result.train_images, result.test_images) == (3, 36, 36)
    assert result.top5 is None


def test_labels_without_meaning_give_chance(teacher, tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            write_images(tmp_path / split / name, 40, seed=hash((split, name)) % 1000)
    result = linear_probe(teacher, tmp_path / "train", tmp_path / "test")
    assert 0.2 < result.accuracy < 0.8


def test_top5_is_reported_for_many_classes(teacher, tmp_path):
    write_classes(tmp_path / "train", classes=6)
    result = linear_probe(teacher, tmp_path / "train", write_classes(tmp_path / "test", classes=6, seed=1))
    assert result.top5 is not None
    assert result.accuracy <= result.top5 <= 1


def test_one_tree_is_split_class_by_class_and_alike_every_time(teacher, tmp_path):
    write_classes(tmp_path / "all", count=10)
    first = linear_probe(teacher, tmp_path / "all", seed=3)
    assert (first.train_images, first.test_images) == (24, 6)
    assert first == linear_probe(teacher, tmp_path / "all", seed=3)


def test_the_probe_leaves_the_model_as_it_was(teacher, tmp_path):
    teacher.train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    linear_probe(teacher, write_classes(tmp_path / "all", count=5))
    assert teacher.training
    assert all(before[name].equal(tensor) for name, tensor in teacher.state_dict().items())


def test_images_outside_class_folders_are_named(teacher, tmp_path):
    write_images(tmp_path, 3)
    with pytest.raises(errors.LabelsRequired, match=r"image000\.png lies outside any class folder"):
        linear_probe(teacher, tmp_path)


def test_one_class_is_refused(teacher, tmp_path):
    with pytest.raises(errors.LabelsRequired, match="1 class"):
        linear_probe(teacher, write_classes(tmp_path / "t", classes=1), tmp_path / "t")


def test_a_test_class_that_was_never_trained_is_named(teacher, tmp_path):
    write_classes(tmp_path / "train", classes=2)
    write_classes(tmp_path / "test", classes=3)
    with pytest.raises(errors.UnknownClasses, match="1 class that the training part lacks: class2"):
        linear_probe(teacher, tmp_path / "train", tmp_path / "test")


def test_a_class_with_a_single_image_is_named_before_any_work(teacher, tmp_path):
    train = write_classes(tmp_path / "train")
    for path in sorted((train / "class1").iterdir())[1:]:
        path.unlink()
    with pytest.raises(errors.ClassTooSmall, match="'class1' has 1 training image, and 2 are needed"):
        linear_probe(teacher, train, write_classes(tmp_path / "test"))
    with pytest.raises(errors.ClassTooSmall, match="'class1'"):
        linear_probe(teacher, train)
    assert knn_score(teacher, train, tmp_path / "test").test_images == 36


def test_the_interval_surrounds_the_accuracy_and_narrows_with_more_images(teacher, tmp_path):
    for split, count in (("train", 20), ("few", 10), ("many", 80)):
        for name in ("a", "b"):
            write_images(tmp_path / split / name, count, seed=len(split + name) * count)
    widths = []
    for split in ("few", "many"):
        result = linear_probe(teacher, tmp_path / "train", tmp_path / split)
        low, high = result.confidence_interval
        assert low <= result.accuracy <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_broken_images_are_counted_and_named(teacher, tmp_path):
    train = write_classes(tmp_path / "train")
    for name in ("3.png", "7.png"):
        (train / "class2" / name).write_bytes(b"no picture")
    with pytest.raises(errors.UnreadableImages, match=r"2 of 36 labelled images .*class2/3\.png") as refused:
        linear_probe(teacher, train, write_classes(tmp_path / "test"))
    assert len(refused.value.names) == 2


def test_a_model_with_broken_weights_is_refused(teacher, tmp_path):
    with torch.no_grad():
        teacher.blocks[2].mlp.fc1.weight[0, 0] = float("nan")
    with pytest.raises(errors.NonFiniteFeatures, match="36 of 36 feature vectors"):
        linear_probe(teacher, write_classes(tmp_path / "train"), write_classes(tmp_path / "test"))


def test_a_misspelt_protocol_or_format_is_answered_with_the_choices(teacher, tmp_path):
    train = write_classes(tmp_path / "train")
    with pytest.raises(errors.OutOfRange, match="protocol is 'lasr': it must be logistic or lars"):
        linear_probe(teacher, train, protocol="lasr")
    with pytest.raises(errors.OutOfRange, match="format is 'coco': it must be auto or folders"):
        linear_probe(teacher, train, format="coco")


@pytest.mark.parametrize("protocol", ["logistic", "lars", "ridge", "knn"])
def test_every_protocol_tells_separable_classes_apart(teacher, tmp_path, protocol):
    result = linear_probe(
        teacher,
        write_classes(tmp_path / "train"),
        write_classes(tmp_path / "test", seed=1),
        protocol=protocol,
    )
    assert result.accuracy == 1.0
    assert result.protocol == protocol


def test_two_models_that_see_different_pictures_are_not_compared(teacher, tmp_path):
    train = write_classes(tmp_path / "train")
    larger = make_teacher(depth=2, img_size=48, patch_size=8, num_classes=5, **SHAPE)
    with pytest.raises(errors.PreprocessingMismatch, match="size is 32 for teacher and 48 for student"):
        evaluate({"teacher": teacher, "student": larger}, train)
    other = make_teacher(depth=2, img_size=32, patch_size=8, num_classes=5, **SHAPE)
    other.pretrained_cfg = {**other.pretrained_cfg, "mean": (0.1, 0.2, 0.3)}
    with pytest.raises(
        errors.PreprocessingMismatch, match=r"mean is .* for teacher and \(0\.1, 0\.2, 0\.3\)"
    ):
        evaluate({"teacher": teacher, "student": other}, train)


def test_teacher_and_student_are_compared_on_the_same_images(teacher, tmp_path):
    train, test = write_classes(tmp_path / "train"), write_classes(tmp_path / "test", seed=1)
    found = evaluate(
        {"teacher": teacher, "same": teacher}, train, test, protocols=("logistic", "ridge", "knn")
    )
    assert list(found.results["teacher"]) == ["logistic", "ridge", "knn"]
    assert found.results["teacher"] == found.results["same"]
    assert found.results["teacher"]["logistic"] == linear_probe(teacher, train, test)
    assert found.differences["same"]["knn"].confidence_interval == (0.0, 0.0)
    assert json.loads(json.dumps(found.to_dict()))["results"]["same"]["ridge"]["accuracy"] == 1.0


def test_the_command_prints_every_score_with_its_interval(teacher_folder, tmp_path):
    train = write_classes(tmp_path / "train")
    command = ["probe", str(teacher_folder), "--train", str(train), "--protocol", "ridge", "--knn"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "95 % interval" in shown.stdout
    assert "100.0% to 100.0%" in shown.stdout
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (told["protocol"], told["knn"]["protocol"]) == ("ridge", "knn")
    assert told["confidence_interval"] == [1.0, 1.0]


def test_the_command_exits_with_2_where_the_labels_do_not_fit(teacher_folder, tmp_path):
    write_images(tmp_path / "train", 3)
    done = CliRunner().invoke(app, ["probe", str(teacher_folder), "--train", str(tmp_path / "train")])
    assert done.exit_code == 2
    assert "outside any class folder" in " ".join(done.stderr.split())


def test_the_command_shows_an_area_for_every_label_of_a_csv(teacher_folder, tmp_path):
    write_classes(tmp_path, classes=3, count=12)
    rows = ["path,labels"]
    for path in sorted(tmp_path.glob("class*/*.png")):
        name = path.relative_to(tmp_path).as_posix()
        rows.append(f"{name},{'' if 'class2' in name else 'warm|' + path.parent.name}")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    listing = str(tmp_path / "all.csv")
    command = ["probe", str(teacher_folder), "--train", listing, "--test", listing]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "mean AUC" in shown.stdout
    for name in ("class0", "class1", "warm"):
        assert f"AUC 100.0%  {name}" in shown.stdout
