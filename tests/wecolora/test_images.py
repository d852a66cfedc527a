"""Finding, decoding and augmenting images."""

import errno
import os
import tempfile

import numpy as np
import pytest
from PIL import Image

from tests.wecolora.conftest import write_images
from wecolora import errors
from wecolora.decoded import DecodedImages, InFile
from wecolora.images import PlainImages, Preprocessing, decode, find_images, load_images


def test_images_are_found_in_subfolders_in_a_stable_order_and_hidden_ones_are_not(tmp_path):
    write_images(tmp_path / "b" / "deep", 2)
    write_images(tmp_path / "a", 1)
    write_images(tmp_path / ".cache", 1)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["a/image000.png", "b/deep/image000.png", "b/deep/image001.png"]


def test_an_empty_or_missing_folder_is_refused_by_name(tmp_path):
    with pytest.raises(errors.NoImages, match=str(tmp_path)):
        find_images(tmp_path)
    with pytest.raises(errors.NoImages, match="nowhere"):
        find_images(tmp_path / "nowhere")


def test_broken_files_are_skipped_by_name_with_the_reason(tmp_path):
    write_images(tmp_path, 2)
    (tmp_path / "empty.png").write_bytes(b"")
    whole = (tmp_path / "image000.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "postscript.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    loaded = load_images(tmp_path, 32)
    assert len(loaded) == 2
    assert sorted(skipped.path for skipped in loaded.skipped) == ["cut.png", "empty.png", "postscript.jpg"]
    assert all(skipped.reason for skipped in loaded.skipped)


def test_a_folder_of_broken_files_only_says_how_many_there_were(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(errors.NoImages, match="none of its 1 image files"):
        load_images(tmp_path, 32)


def test_every_mode_becomes_rgb_by_one_defined_conversion(tmp_path):
    def converted(image, name):
        image.save(tmp_path / name)
        return np.asarray(decode(tmp_path / name))[0, 0].tolist()

    assert converted(Image.new("L", (4, 4), 77), "grey.png") == [77, 77, 77]
    assert converted(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "clear.png") == [255, 255, 255]
    assert converted(Image.new("LA", (4, 4), (10, 255)), "opaque.png") == [10, 10, 10]
    sixteen = Image.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16))
    assert converted(sixteen, "sixteen.png") == [128, 128, 128]
    palette = Image.new("RGB", (4, 4), (1, 2, 3)).quantize(2)
    assert converted(palette, "palette.png") == [1, 2, 3]
    assert converted(Image.new("1", (4, 4), 1), "bit.png") == [255, 255, 255]


def test_pixels_without_a_defined_scale_are_skipped_by_name(tmp_path):
    write_images(tmp_path, 1)
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)).save(tmp_path / "wide.tif")
    skipped = {file.path: file.reason for file in load_images(tmp_path, 32).skipped}
    assert sorted(skipped) == ["float.tif", "wide.tif"]
    assert all("32-bit" in reason for reason in skipped.values())


def test_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, 20:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    upright = decode(tmp_path / "turned.png")
    assert upright.size == (20, 40)
    assert np.asarray(upright)[0, 0].tolist() == [0, 0, 0]
    assert np.asarray(upright)[-1, 0].tolist() == [255, 255, 255]


def test_large_images_are_kept_no_larger_than_a_crop_can_use(tmp_path):
    write_images(tmp_path, 1, size=(640, 320))
    loaded = load_images(tmp_path, 32)
    # 32 / √0.2 = 71.6: the shorter side.
    assert loaded.image(0).size == (144, 72)


def test_images_look_the_same_from_the_disk_from_memory_and_decoded_anew(tmp_path):
    write_images(tmp_path, 6)
    largest = max(np.asarray(decode(path)).nbytes for path in find_images(tmp_path))
    everything = load_images(tmp_path, 32)
    # Room for some on the disk, for some in memory, and for the others nowhere.
    some = load_images(tmp_path, 32, DecodedImages(disk_bytes=2 * largest, memory_bytes=2 * largest))
    kinds = [type(place) for place in some.places]
    assert {InFile, np.ndarray, type(None)} == set(kinds)
    assert all(isinstance(place, InFile) for place in everything.places)
    for index in range(6):
        expected = np.asarray(decode(everything.paths[index]))
        assert np.array_equal(everything.pixels(index), expected)
        assert np.array_equal(some.pixels(index), expected)


def test_a_disk_that_fills_up_while_images_are_decoded_leaves_the_others_to_memory(tmp_path, monkeypatch):
    write_images(tmp_path, 4)
    decoded = DecodedImages()
    write, calls = os.pwrite, []

    def fill_up(*arguments):
        calls.append(arguments)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", fill_up)
    loaded = load_images(tmp_path, 32, decoded)
    assert [isinstance(place, InFile) for place in loaded.places] == [True, True, False, False]
    assert len(calls) == 3, "a full disk is not tried again"
    for index in range(4):
        assert np.array_equal(loaded.pixels(index), np.asarray(decode(loaded.paths[index])))


def test_decoded_images_leave_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    loaded = load_images(write_images(tmp_path / "images", 2), 32)
    assert isinstance(loaded.places[0], InFile)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_teachers_own_mean_and_std_are_used(tmp_path):
    Image.new("RGB", (8, 8), (255, 255, 255)).save(tmp_path / "white.png")
    own = Preprocessing(8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    values = PlainImages([tmp_path / "white.png"], own)[0][:, 0, 0].tolist()
    assert values == pytest.approx([2.0, 1.0, 0.5])


def test_a_share_of_the_images_is_drawn_by_seed_and_never_empty(tmp_path):
    loaded = load_images(write_images(tmp_path, 10), 32)
    half = loaded.subset(0.5, seed=0)
    assert len(half) == 5
    assert half.paths == loaded.subset(0.5, seed=0).paths
    assert half.paths != loaded.subset(0.5, seed=1).paths
    assert len(loaded.subset(0.001, seed=0)) == 1
