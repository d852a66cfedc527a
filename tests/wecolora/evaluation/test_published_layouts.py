"""Labelled sets, tiny but laid out exactly as their publishers ship them."""

import json
import pickle
import struct

import numpy as np
import pytest
from scipy.io import savemat

from tests.wecolora.evaluation.labelled_files import named, picture
from wecolora import errors, linear_probe, read_labelled
from wecolora.evaluation.folders import RESISC45_CLASSES
from wecolora.evaluation.options import SetFormat

# ImageNet-1K


@pytest.fixture
def imagenet(tmp_path):
    for synset in ("n01440764", "n01443537"):
        for number in range(3):
            picture(tmp_path / "train" / synset / f"{synset}_{number}.JPEG")
    return tmp_path


def test_imagenet_with_sorted_validation_folders(imagenet):
    picture(imagenet / "val" / "n01443537" / "ILSVRC2012_val_00000001.JPEG")
    found = read_labelled(imagenet)
    assert found.format is SetFormat.IMAGENET
    assert (len(found.train), found.classes) == (6, ("n01440764", "n01443537"))
    assert named(found.test) == {"ILSVRC2012_val_00000001.JPEG": "n01443537"}


def test_imagenet_with_flat_validation_images_and_the_devkit(imagenet):
    for number in (1, 2):
        picture(imagenet / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    data = imagenet / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n")
    synsets = np.array(
        [(1, "n01440764", "tench"), (2, "n01443537", "goldfish")],
        dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")],
    )
    savemat(data / "meta.mat", {"synsets": synsets})
    found = read_labelled(imagenet, format="imagenet")
    assert named(found.test) == {
        "ILSVRC2012_val_00000001.JPEG": "n01443537",
        "ILSVRC2012_val_00000002.JPEG": "n01440764",
    }


def test_imagenet_as_kaggle_hands_it_out(imagenet, tmp_path_factory):
    root = tmp_path_factory.mktemp("kaggle")
    (root / "ILSVRC" / "Data").mkdir(parents=True)
    imagenet.rename(root / "ILSVRC" / "Data" / "CLS-LOC")
    picture(root / "ILSVRC" / "Data" / "CLS-LOC" / "val" / "ILSVRC2012_val_00000007.JPEG")
    (root / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000007,n01443537 1 2 3 4 n01443537 5 6 7 8 \n"
    )
    assert named(read_labelled(root).test) == {"ILSVRC2012_val_00000007.JPEG": "n01443537"}


def test_flat_validation_images_without_their_classes_say_what_is_needed(imagenet):
    picture(imagenet / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(errors.InvalidLabelledSet, match="put ILSVRC2012_devkit_t12 or LOC_val_solution"):
        read_labelled(imagenet)


# CIFAR-100


def python2_pickle(value):
    """Bytes as Python 2's cPickle writes them at protocol 2, the form of the published files."""

    def text(data):
        return (
            b"U" + bytes([len(data)]) + data
            if len(data) < 256
            else b"T" + struct.pack("<i", len(data)) + data
        )

    def emit(each):
        if isinstance(each, dict):
            return b"}(" + b"".join(emit(key) + emit(item) for key, item in each.items()) + b"u"
        if isinstance(each, list):
            return b"](" + b"".join(map(emit, each)) + b"e"
        if isinstance(each, int):
            return b"J" + struct.pack("<i", each)
        if isinstance(each, str):
            return text(each.encode())
        shape = b"(" + b"".join(map(emit, each.shape)) + b"t"
        dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN"
        dtype += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        return start + b"(K\x01" + shape + dtype + b"\x89" + text(each.tobytes()) + b"tb"

    return b"\x80\x02" + emit(value) + b"."


@pytest.fixture
def cifar(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, count in (("train", 12), ("test", 4)):
        labels = [number % 2 for number in range(count)]
        pixels = generator.integers(0, 90, size=(count, 3, 1024), dtype=np.uint8)
        pixels[np.arange(count), labels] += 150  # apples are red, fish are green
        content = {
            "filenames": [f"{number}.png" for number in range(count)],
            "batch_label": "training batch 1 of 1",
            "fine_labels": labels,
            "coarse_labels": [0] * count,
            "data": pixels.reshape(count, 3072),
        }
        (folder / name).write_bytes(python2_pickle(content))
    meta = {"fine_label_names": ["apple", "aquarium_fish"], "coarse_label_names": ["things"]}
    (folder / "meta").write_bytes(python2_pickle(meta))
    return tmp_path


@pytest.mark.parametrize("inside", [True, False])
def test_cifar_100_is_read_from_its_three_pickles(cifar, inside):
    found = read_labelled(cifar / "cifar-100-python" if inside else cifar)
    assert found.format is SetFormat.CIFAR_100
    assert found.classes == ("apple", "aquarium_fish")
    assert found.train.images.shape == (12, 32, 32, 3)
    reds, greens = found.test.images[..., 0].mean((1, 2)), found.test.images[..., 1].mean((1, 2))
    assert ((reds > greens) == (found.test.labels == 0)).all()


def test_cifars_pixels_are_probed_without_files(cifar, teacher):
    result = linear_probe(teacher, cifar)
    assert (result.train_images, result.test_images, result.accuracy) == (12, 4, 1.0)


def test_a_pickle_written_anew_by_python_3_is_read_too(cifar):
    meta = {"fine_label_names": ["a", "b"]}
    (cifar / "cifar-100-python" / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    content = {"data": np.full((2, 3072), 7, np.uint8), "fine_labels": [0, 1]}
    (cifar / "cifar-100-python" / "test").write_bytes(pickle.dumps(content, protocol=2))
    assert (read_labelled(cifar).test.images == 7).all()


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(cifar, tmp_path):
    trap = tmp_path / "trap"
    (cifar / "cifar-100-python" / "train").write_bytes(pickle.dumps({"data": Malicious(trap)}, protocol=2))
    with pytest.raises(errors.InvalidLabelledSet, match=r"open, which the set does not need"):
        read_labelled(cifar)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x02}", "not a file of cifar-100-python"),
        (python2_pickle([1]), "holds no dictionary"),
        (python2_pickle({"fine_labels": [0], "data": "text"}), "not an array of bytes"),
        (
            python2_pickle({"fine_labels": [0], "data": np.zeros((2, 3072), np.uint8)}),
            "one fine label for every",
        ),
        (python2_pickle({"fine_labels": [0, 9], "data": np.zeros((2, 3072), np.uint8)}), "not from 0 to 1"),
        (pickle.dumps({"data": np.array([None])}, protocol=2), "array of 'O8' is not allowed"),
    ],
)
def test_a_damaged_cifar_file_is_named_with_the_reason(cifar, content, reason):
    (cifar / "cifar-100-python" / "train").write_bytes(content)
    with pytest.raises(errors.InvalidLabelledSet, match=reason) as refused:
        read_labelled(cifar)
    assert refused.value.path.endswith("train")


# ChestX-ray14

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


@pytest.fixture
def chest(tmp_path):
    rows = [HEADER]
    for patient in range(1, 9):
        for visit in range(2):
            findings = {0: "No Finding", 1: "Cardiomegaly", 2: "Cardiomegaly|Effusion"}[(patient + visit) % 3]
            name = f"{patient:08d}_{visit:03d}.png"
            rows.append(f"{name},{findings},{visit},{patient},58,M,PA,2682,2749,0.143,0.143,")
            picture(tmp_path / "images" / name)
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join(rows) + "\n")
    names = [row.split(",")[0] for row in rows[1:]]
    (tmp_path / "train_val_list.txt").write_text("\n".join(names[:12]))
    (tmp_path / "test_list.txt").write_text("\n".join(names[12:]) + "\n")
    return tmp_path


def test_chest_x_rays_have_any_number_of_labels_and_the_official_split(chest):
    found = read_labelled(chest)
    assert found.format is SetFormat.CHESTX_RAY14
    assert (found.multi_label, found.classes) == (True, ("Cardiomegaly", "Effusion"))
    assert named(found.test) == {
        "00000007_000.png": {"Cardiomegaly"},
        "00000007_001.png": {"Cardiomegaly", "Effusion"},
        "00000008_000.png": {"Cardiomegaly", "Effusion"},
        "00000008_001.png": set(),
    }
    assert len(np.unique(found.train.groups)) == 6


def test_chest_x_rays_in_kaggles_folders(chest):
    for number, path in enumerate(sorted((chest / "images").iterdir())):
        place = chest / f"images_{1 + number % 3:03d}" / "images"
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    (chest / "images").rmdir()
    (chest / "Data_Entry_2017.csv").rename(chest / "Data_Entry_2017_v2020.csv")
    assert len(read_labelled(chest).train) == 12


def test_x_rays_that_are_not_there_are_counted_and_named(chest):
    for name in ("00000001_000.png", "00000003_001.png"):
        (chest / "images" / name).unlink()
    with pytest.raises(
        errors.LabelledImagesMissing, match=r"2 of 12 images .*: 00000001_000\.png, 0"
    ) as refused:
        read_labelled(chest)
    assert refused.value.missing == ("00000001_000.png", "00000003_001.png")


def test_patients_are_not_torn_apart_by_a_split(chest):
    from wecolora.evaluation.splits import held_out

    train = read_labelled(chest).train
    kept, off = held_out(train.labels, train.classes, train.groups, 0.2, seed=0)
    assert not set(train.groups[kept]) & set(train.groups[off])
    assert sorted([*kept, *off]) == list(range(12))


# iNaturalist 2019


@pytest.fixture
def inaturalist(tmp_path):
    categories = [
        {"id": number, "name": name, "kingdom": "Plantae", "genus": "Quercus"}
        for number, name in enumerate(("Quercus alba", "Quercus rubra", "Quercus nigra"))
    ]
    number = 0
    for part, each in (("train", 3), ("val", 1)):
        images, annotations = [], []
        for category in (0, 1):
            for _ in range(each):
                name = f"train_val2019/Plants/{category}/{number:032x}.jpg"
                picture(tmp_path / name)
                images.append(
                    {
                        "id": number,
                        "width": 8,
                        "height": 8,
                        "file_name": name,
                        "license": 1,
                        "rights_holder": "x",
                    }
                )
                annotations.append({"id": number, "image_id": number, "category_id": category})
                number += 1
        content = {
            "info": {},
            "images": images,
            "categories": categories,
            "annotations": annotations,
            "licenses": [],
        }
        (tmp_path / f"{part}2019.json").write_text(json.dumps(content))
    return tmp_path


def test_inaturalist_2019_is_tested_on_its_validation_part(inaturalist):
    found = read_labelled(inaturalist)
    assert found.format is SetFormat.INATURALIST_2019
    assert (found.classes, len(found.train), len(found.test)) == (("Quercus alba", "Quercus rubra"), 6, 2)
    assert list(found.test.labels) == [0, 1]
    assert all(path.is_file() for path in found.train.images)


def test_a_json_that_leads_out_of_its_folder_is_refused(inaturalist):
    listing = inaturalist / "val2019.json"
    listing.write_text(listing.read_text().replace("train_val2019/Plants/0", "../../etc"))
    with pytest.raises(errors.PathOutsideFolder, match=r"'\.\./\.\./etc/"):
        read_labelled(inaturalist)


def test_a_json_of_another_kind_is_refused(inaturalist):
    (inaturalist / "train2019.json").write_text('{"images": []}')
    with pytest.raises(errors.InvalidLabelledSet, match="does not list images, categories and annotations"):
        read_labelled(inaturalist)


# NWPU-RESISC45 and class folders


def test_resisc45_is_split_a_fifth_to_four_fifths_by_the_seed(tmp_path):
    for name in RESISC45_CLASSES:
        for number in range(1, 11):
            picture(tmp_path / "NWPU-RESISC45" / name / f"{name}_{number:03d}.jpg")
    found = read_labelled(tmp_path)
    assert found.format is SetFormat.RESISC45
    assert (len(found.classes), len(found.train), len(found.test)) == (45, 90, 360)
    assert (found.train.counts() == 2).all()
    assert set(found.train.images).isdisjoint(found.test.images)
    assert read_labelled(tmp_path / "NWPU-RESISC45").format is SetFormat.RESISC45
    assert list(found.train.images) == list(read_labelled(tmp_path).train.images)
    assert list(found.train.images) != list(read_labelled(tmp_path, seed=1).train.images)


def test_other_folders_are_no_resisc45(tmp_path):
    picture(tmp_path / "beach" / "beach_001.jpg")
    with pytest.raises(errors.InvalidLabelledSet, match="44 are lacking"):
        read_labelled(tmp_path, format="resisc45")
