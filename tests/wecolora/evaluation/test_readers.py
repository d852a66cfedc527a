"""Labelled images in class folders and in CSV files."""

import csv
import io

import pytest

from tests.wecolora.evaluation.labelled_files import named, picture
from wecolora import errors, read_labelled
from wecolora.evaluation.options import SetFormat


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_folders_with_a_training_and_a_test_part_are_seen(tmp_path, test_name):
    for part, count in (("train", 3), (test_name, 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                picture(tmp_path / part / name / f"{number}.png")
    found = read_labelled(tmp_path)
    assert (found.classes, len(found.train), len(found.test)) == (("cat", "dog"), 6, 4)
    pair = read_labelled(tmp_path / "train", tmp_path / test_name)
    assert list(pair.test.images) == list(found.test.images)


def test_classes_that_are_called_train_and_test_are_classes(tmp_path):
    for name in ("train", "test", "tram"):
        for number in range(5):
            picture(tmp_path / name / f"{number}.png")
    found = read_labelled(tmp_path)
    assert (found.classes, len(found.train), len(found.test)) == (("test", "train", "tram"), 12, 3)


# CSV


def write_csv(path, rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_text(text.getvalue())
    return path


def test_a_csv_is_read_with_or_without_a_header_and_with_quoted_names(tmp_path):
    names = ["plain.png", 'a "quoted", name.png', "below/deep.png", "x/../four.png"]
    for name in ("plain.png", 'a "quoted", name.png', "below/deep.png", "four.png"):
        picture(tmp_path / name)
    rows = [[name, label] for name, label in zip(names, ["cat", "dog", "dog", "cat"], strict=True)]
    bare = write_csv(tmp_path / "bare.csv", rows)
    headed = write_csv(tmp_path / "headed.csv", [["path", "label"], *rows])
    for listing in (bare, headed):
        found = read_labelled(listing, listing)
        assert (found.format, found.multi_label, found.classes) == (SetFormat.CSV, False, ("cat", "dog"))
        assert list(found.train.labels) == [0, 1, 1, 0]
        assert all(path.is_file() for path in found.train.images)


def test_a_csv_with_several_labels_in_a_row(tmp_path):
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    listing = write_csv(
        tmp_path / "l.csv", [["a.png", "x|y"], ["b.png", ""], ["c.png", " y "], ["d.png", "x"]]
    )
    found = read_labelled(listing, listing)
    assert found.multi_label
    assert named(found.test) == {"a.png": {"x", "y"}, "b.png": set(), "c.png": {"y"}, "d.png": {"x"}}


def test_a_folder_with_train_csv_and_test_csv(tmp_path):
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    write_csv(tmp_path / "train.csv", [["a.png", "x"], ["b.png", "y"]])
    write_csv(tmp_path / "test.csv", [["c.png", "x"], ["d.png", "y"]])
    found = read_labelled(tmp_path)
    assert (found.format, len(found.train), len(found.test)) == (SetFormat.CSV, 2, 2)


def test_one_part_with_single_labels_and_one_with_several_is_refused(tmp_path):
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    several = write_csv(tmp_path / "several.csv", [["a.png", "x|y"], ["b.png", "x"]])
    single = write_csv(tmp_path / "single.csv", [["c.png", "x"], ["d.png", "y"]])
    with pytest.raises(
        errors.LabelKindsDiffer, match=r"several\.csv has any number .*single\.csv exactly one"
    ):
        read_labelled(several, single)
    with pytest.raises(errors.LabelKindsDiffer, match=r"several\.csv has any number"):
        read_labelled(single, several)
    headed = write_csv(tmp_path / "headed.csv", [["path", "labels"], ["c.png", "x"], ["d.png", "y"]])
    assert named(read_labelled(several, headed).test) == {"c.png": {"x"}, "d.png": {"y"}}


@pytest.mark.parametrize("name", ["../out.png", "/etc/passwd", "a/../../out.png", "", "a\0.png"])
def test_a_csv_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    (tmp_path / "in").mkdir()
    picture(tmp_path / "out.png")
    picture(tmp_path / "in" / "a.png")
    listing = write_csv(tmp_path / "in" / "l.csv", [["a.png", "x"], [name, "y"]])
    with pytest.raises(errors.PathOutsideFolder):
        read_labelled(listing)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a.png,x,y\n", errors.InvalidLabelledSet, "line 1 has 3 cells"),
        ("a.png,x\na.png,y\n", errors.InvalidLabelledSet, "listed twice"),
        ('a.png,"x\n', errors.InvalidLabelledSet, "not comma-separated"),
        ("path,label\n", errors.LabelsRequired, "no rows"),
        ("a.png,x\n", errors.LabelsRequired, "1 class"),
        ("a.png,x\nb.png,y\nc.png,y\n", errors.LabelledImagesMissing, "2 of 3 images .* b.png, c.png"),
        ("a.png,\n", errors.LabelsRequired, "0 classes"),
    ],
)
def test_a_bad_csv_is_refused_with_what_is_wrong(tmp_path, text, error, message):
    picture(tmp_path / "a.png")
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(error, match=message):
        read_labelled(tmp_path / "l.csv")


@pytest.mark.parametrize("kind", [kind for kind in SetFormat if kind is not SetFormat.AUTO])
def test_an_empty_folder_is_refused_in_every_format(tmp_path, kind):
    with pytest.raises((errors.InvalidLabelledSet, errors.NoImages)) as refused:
        read_labelled(tmp_path, format=kind)
    assert str(tmp_path) in str(refused.value)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(errors.NoImages, match="nowhere"):
        read_labelled(tmp_path / "nowhere")
