"""Hostile and honest safetensors headers."""

import contextlib
import io
import json
import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Architecture
from core.errors import InvalidTeacherFile
from core.teacher_file import MAX_HEADER_BYTES, check_architecture, read_header

ARCHITECTURE = Architecture(
    family="vit",
    depth=2,
    embed_dim=8,
    num_heads=2,
    max_lora_rank=8,
    patch_size=4,
    image_size=32,
    tensors={
        "cls_token": [1, 1, 8],
        "pos_embed": [1, 65, 8],
        "blocks.{i}.attn.qkv.weight": [24, 8],
        "norm.weight": [8],
        "head.weight": [10, 8],
    },
)


def honest_tensors(**changed):
    shapes = {
        "cls_token": [1, 1, 8],
        "pos_embed": [1, 65, 8],
        "blocks.0.attn.qkv.weight": [24, 8],
        "blocks.1.attn.qkv.weight": [24, 8],
        "norm.weight": [8],
        "head.weight": [3, 8],
    }
    return {name: shape for name, shape in {**shapes, **changed}.items() if shape is not None}


def make_file(shapes, dtype="F32"):
    header, position = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    return with_header(json.dumps(header).encode(), position)


def with_header(header, data_bytes):
    return struct.pack("<Q", len(header)) + header + bytes(data_bytes)


def read(content):
    return read_header(io.BytesIO(content), len(content))


def one(data_bytes=16, **changed):
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changed}
    return with_header(json.dumps({"weight": entry}).encode(), data_bytes)


def two(first, second, data_bytes=32):
    entries = {
        name: {"dtype": "F32", "shape": [4], "data_offsets": offsets}
        for name, offsets in (("first", first), ("second", second))
    }
    return with_header(json.dumps(entries).encode(), data_bytes)


def test_an_honest_file_is_read():
    tensors = read(make_file(honest_tensors()))
    shape = check_architecture(tensors, "vit_test", ARCHITECTURE)
    assert (shape.depth, shape.embed_dim, shape.image_size, shape.num_classes) == (2, 8, 32, 3)


def test_another_image_size_is_read_from_the_position_embedding():
    tensors = read(make_file(honest_tensors(pos_embed=[1, 17, 8])))
    assert check_architecture(tensors, "vit_test", ARCHITECTURE).image_size == 16


STAGES = Architecture(
    family="resnet",
    depth=3,
    stages=[1, 2],
    embed_dim=16,
    max_lora_rank=8,
    patch_size=32,
    image_size=64,
    tensors={
        "conv1.weight": [8, 3, 7, 7],
        "layer1.0.conv1.weight": [8, 8, 3, 3],
        "layer2.0.conv1.weight": [16, 8, 3, 3],
        "layer2.{i}.conv1.weight": [16, 16, 3, 3],
        "fc.weight": [10, 16],
    },
)


def staged_tensors(**changed):
    shapes = {
        "conv1.weight": [8, 3, 7, 7],
        "layer1.0.conv1.weight": [8, 8, 3, 3],
        "layer2.0.conv1.weight": [16, 8, 3, 3],
        "layer2.1.conv1.weight": [16, 16, 3, 3],
        "fc.weight": [4, 16],
    }
    return {name: shape for name, shape in {**shapes, **changed}.items() if shape is not None}


def test_a_network_of_stages_is_compared_block_by_block():
    shape = check_architecture(read(make_file(staged_tensors())), "resnet_test", STAGES)
    assert (shape.depth, shape.embed_dim, shape.image_size, shape.num_classes) == (3, 16, None, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer2.1.conv1.weight": None}, "'layer2.1.conv1.weight' of resnet_test is missing"),
        ({"layer2.0.conv1.weight": [16, 16, 3, 3]}, r"'layer2.0.conv1.weight' has shape \[16, 16, 3, 3\]"),
        ({"layer1.1.conv1.weight": [8, 8, 3, 3]}, r"belongs to no block of resnet_test, which has 1 \+ 2"),
        ({"layer3.0.conv1.weight": [8, 8, 3, 3]}, "belongs to no block"),
        ({f"layer2.{'9' * 5000}.conv1.weight": [1]}, "belongs to no block"),
    ],
    ids=[
        "missing",
        "another shape",
        "a block too many",
        "a stage too many",
        "a number of thousands of digits",
    ],
)
def test_a_network_of_other_stages_is_refused(changed, message):
    with pytest.raises(InvalidTeacherFile, match=message):
        check_architecture(read(make_file(staged_tensors(**changed))), "resnet_test", STAGES)


def test_a_name_that_looks_like_a_pattern_is_no_block():
    tensors = read(make_file(staged_tensors(**{"layer2.{i}.conv1.weight": [1]})))
    assert check_architecture(tensors, "resnet_test", STAGES).depth == 3


REFUSED = {
    "empty file": (b"", "truncated"),
    "a few bytes": (b"\x08\x00", "truncated"),
    "pickle": (pickle.dumps({"weight": [1.0] * 50}), "pickle"),
    "torch's zip": (b"PK\x03\x04" + bytes(100), "safetensors.torch.save_file"),
    "text": (b"hello world, this is no model", "not a safetensors file"),
    "header longer than the limit": (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{", "at most"),
    "header length of 2**64-1": (struct.pack("<Q", 2**64 - 1) + b"{}", "at most"),
    "header longer than the file": (struct.pack("<Q", 1000) + b"{}", "truncated"),
    "broken JSON": (with_header(b'{"weight": ', 0), "JSON"),
    "not UTF-8": (with_header(b'{"\xff\xfe": 1}', 0), "JSON"),
    "deep nesting": (with_header(b'{"a":' + b"[" * 200_000, 0), "JSON"),
    "no tensors": (with_header(b'{"__metadata__": {"format": "pt"}}', 0), "no tensors"),
    "a name twice": (with_header(b'{"weight": 1, "weight": 2}', 0), "'weight' twice"),
    "an entry that is no object": (with_header(b'{"weight": 1}', 0), "'weight'"),
    "an unknown dtype": (one(dtype="F13"), "'weight': unknown dtype"),
    "a dtype that is a list": (one(dtype=["F32"]), "'weight': unknown dtype"),
    "a negative size": (one(shape=[-4]), "'weight'"),
    "a size that is true": (one(shape=[True]), "'weight'"),
    "an overflowing shape": (one(shape=[2**62, 2**62, 2**62]), "'weight'"),
    "a size beyond 64 bits": (one(shape=[2**70]), "'weight'"),
    "a thousand dimensions": (one(shape=[1] * 1000), "'weight'"),
    "offsets backwards": (one(data_offsets=[16, 0]), "'weight'"),
    "offsets beyond the file": (one(data_offsets=[0, 10**12]), "'weight'"),
    "offsets that do not fit the shape": (one(shape=[3]), "'weight': F32 of shape [3] takes 12 bytes"),
    "a truncated file": (one(data_bytes=10), "'weight'"),
    "bytes after the end": (one(data_bytes=20), "end at byte 16"),
    "overlapping tensors": (two([0, 16], [8, 24], 24), "'second' overlaps 'first'"),
    "the same bytes twice": (two([0, 16], [0, 16], 16), "overlaps"),
    "a gap": (two([0, 16], [20, 36], 36), "unnamed bytes before tensor 'second'"),
    "a late beginning": (one(data_bytes=20, data_offsets=[4, 20]), "unnamed bytes before tensor 'weight'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_believed_is_refused_with_the_reason(name):
    content, words = REFUSED[name]
    with pytest.raises(InvalidTeacherFile) as caught:
        read(content)
    assert words in str(caught.value)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(content, with_length):
    content = with_header(b"{" + content, 0) if with_length else content
    with contextlib.suppress(InvalidTeacherFile):
        assert read(content)


@pytest.mark.parametrize(
    ("changed", "tensor", "words"),
    [
        ({"norm.weight": None}, "norm.weight", "missing"),
        ({"blocks.1.attn.qkv.weight": None}, "blocks.1.attn.qkv.weight", "missing"),
        ({"blocks.1.attn.qkv.weight": [24, 9]}, "blocks.1.attn.qkv.weight", "[24, 9]; vit_test has [24, 8]"),
        ({"blocks.2.attn.qkv.weight": [24, 8]}, "blocks.2.attn.qkv.weight", "which has 2"),
        ({"norm.weight": None, "model.norm.weight": [8]}, "norm.weight", "strip the prefix 'model.'"),
    ],
)
def test_a_file_of_another_architecture_is_refused_by_tensor(changed, tensor, words):
    tensors = read(make_file(honest_tensors(**changed)))
    with pytest.raises(InvalidTeacherFile) as caught:
        check_architecture(tensors, "vit_test", ARCHITECTURE)
    assert caught.value.tensor == tensor
    assert words in str(caught.value)


def test_weights_that_are_integers_are_refused():
    tensors = read(make_file(honest_tensors(), dtype="I32"))
    with pytest.raises(InvalidTeacherFile, match="weights are floats"):
        check_architecture(tensors, "vit_test", ARCHITECTURE)
