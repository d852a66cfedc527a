"""The catalogue and uploaded teachers."""

import json
import struct

import pytest

from tests.api.rows import count_rows, ready_dataset
from tests.servers import run_api

SHAPES = {
    "cls_token": [1, 1, 8],
    "pos_embed": [1, 65, 8],
    "patch_embed.proj.weight": [8, 3, 4, 4],
    **{f"blocks.{block}.attn.qkv.weight": [24, 8] for block in range(2)},
    **{f"blocks.{block}.mlp.fc1.weight": [32, 8] for block in range(2)},
    "norm.weight": [8],
}


def safetensors(shapes):
    header, position = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [position, position + size]}
        position += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(position)


def upload(api, content, **fields):
    data = {"architecture": "vit_fixed_patch4_32", **fields}
    return api.client.post("/teachers", data=data, files={"file": ("mine.safetensors", content)})


def test_the_catalogue_is_listed_and_found_by_name_and_alias(api):
    names = [teacher["id"] for teacher in api.client.get("/teachers").json()["data"]]
    assert names == ["sample-digits", "fixed_size_teacher.in1k"]
    assert api.client.get("/teachers/digits").json()["kind"] == "bundled"
    assert api.client.get("/teachers/resnet50").status_code == 404


def test_an_uploaded_teacher_can_be_used_in_a_job(api):
    response = upload(api, safetensors(SHAPES), name="my teacher")
    teacher = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/teachers/{teacher['id']}"
    assert (teacher["kind"], teacher["depth"], teacher["image_size"]) == ("uploaded", 2, 32)
    assert api.client.get("/teachers").json()["data"][0] == teacher
    body = {"teacher": teacher["id"], "r": 2, "k": 4, "dataset_id": ready_dataset(api)}
    job = api.client.post("/jobs", json=body).json()
    assert job["teacher"]["teacher_id"] == teacher["id"]
    assert api.resources.storage.get_bytes(job["teacher"]["source"]) == safetensors(SHAPES)
    too_deep = api.client.post("/jobs", json={**body, "r": 3})
    assert too_deep.json()["errors"][0]["allowed"] == "1 to 2"


def test_an_uploaded_teacher_can_be_named_as_long_as_one_is_meant(api):
    body = {"teacher": "mine", "r": 2, "k": 4, "dataset_id": ready_dataset(api)}
    unknown = api.client.post("/jobs", json=body).json()["errors"][0]
    assert (unknown["message"], unknown["allowed"]) == ("there is no teacher 'mine'", "see GET /teachers")
    first = upload(api, safetensors(SHAPES), name="mine").json()["id"]
    assert api.client.post("/jobs", json=body).json()["teacher"]["teacher_id"] == first
    second = upload(api, safetensors(SHAPES), name="mine").json()["id"]
    (error,) = api.client.post("/jobs", json=body).json()["errors"]
    assert error["allowed"] == f"{second}, {first}"
    assert "2 uploaded teachers are called 'mine'" in error["message"]


def test_a_name_of_the_catalogue_stays_the_catalogue_s(api):
    upload(api, safetensors(SHAPES), name="digits")
    body = {"teacher": "digits", "r": 2, "k": 4, "dataset_id": ready_dataset(api)}
    assert api.client.post("/jobs", json=body).json()["teacher"]["kind"] == "bundled"


@pytest.mark.parametrize(
    ("content", "fields", "code", "words"),
    [
        (b"\x80\x02}q\x00.", {}, "invalid_teacher_file", "safetensors.torch.save_file"),
        (b"PK\x03\x04" + bytes(50), {}, "invalid_teacher_file", "pickle"),
        (safetensors(SHAPES)[:-1], {}, "invalid_teacher_file", "'norm.weight'"),
        (
            safetensors({**SHAPES, "norm.weight": [9]}),
            {},
            "invalid_teacher_file",
            "'norm.weight' has shape [9]",
        ),
        (safetensors({"cls_token": [1, 1, 8]}), {}, "invalid_teacher_file", "'patch_embed.proj.weight'"),
        (safetensors(SHAPES), {"architecture": "vit_fixd"}, "unknown_teacher", "did you mean"),
        (safetensors(SHAPES), {"architecture": "resnet50"}, "unsupported_architecture", "convolutional"),
        (safetensors(SHAPES), {"image_size": "30"}, "invalid_request", "multiples of 4 from 8"),
        (safetensors(SHAPES), {"depth": "3"}, "invalid_request", "not permitted"),
    ],
)
def test_a_file_that_cannot_be_a_teacher_is_refused_and_not_kept(api, content, fields, code, words):
    response = upload(api, content, **fields)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert words in response.json()["detail"]
    assert count_rows(api)["teachers"] == 0
    assert api.resources.storage.list_keys("teachers") == []


def test_a_form_without_a_file_is_refused(api):
    sent = {"architecture": (None, b"vit_fixed_patch4_32")}
    response = api.client.post("/teachers", files=sent)
    assert response.json()["errors"][0]["field"] == "file"
    assert api.client.post("/teachers", json={}).status_code == 415


def test_a_form_of_too_many_parts_is_refused(make_settings):
    with run_api(make_settings(max_form_files=3)) as api:
        files = [("images", (f"{number}.png", b"x")) for number in range(4)]
        response = api.client.post("/jobs", data={"teacher": "digits"}, files=files)
        assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
        fields = {f"field{number}": "x" for number in range(200)}
        assert api.client.post("/jobs", data=fields, files=files[:1]).status_code == 413
        long = api.client.post("/jobs", files={"teacher": (None, b"x" * 100_000)})
        assert long.status_code == 413


def test_the_mean_and_std_of_an_uploaded_teacher_go_with_its_jobs(api):
    teacher = upload(api, safetensors(SHAPES), mean="0.5,0.25,0.5", std="0.5, 0.5, 0.5").json()
    assert (teacher["mean"], teacher["std"]) == ([0.5, 0.25, 0.5], [0.5, 0.5, 0.5])
    body = {"teacher": teacher["id"], "r": 2, "k": 4, "dataset_id": ready_dataset(api)}
    job = api.client.post("/jobs", json=body).json()
    assert (job["teacher"]["mean"], job["teacher"]["std"]) == (teacher["mean"], teacher["std"])


@pytest.mark.parametrize(
    ("field", "value"), [("mean", "0.5,0.5"), ("mean", "124,116,104"), ("std", "0,1,1"), ("std", "a")]
)
def test_a_mean_or_std_that_is_no_triple_of_shares_names_the_field(api, field, value):
    answer = upload(api, safetensors(SHAPES), **{field: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)
