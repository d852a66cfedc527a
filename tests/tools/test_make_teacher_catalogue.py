import json
from typing import Any

import pytest
import timm
import torch

from tools.make_teacher_catalogue import CATALOGUE, dump, make_catalogue

SUPPORTED = (
    "vit_base_patch16_224",
    "vit_small_patch14_dinov2",
    "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
)
RESNETS = ("resnet18", "resnext50_32x4d", "seresnet50")
REFUSED = ("swin_tiny_patch4_window7_224", "convnext_atto", "res2net50d")


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return loaded


def test_the_committed_entries_are_what_the_tool_writes(committed: dict[str, Any]) -> None:
    made = json.loads(dump(make_catalogue([*SUPPORTED, *RESNETS, *REFUSED])))
    assert committed["generated_with"] == made["generated_with"]
    assert committed["teachers"][0] == made["teachers"][0]
    by_name = {teacher["name"]: teacher for teacher in committed["teachers"]}
    for teacher in made["teachers"]:
        assert by_name[teacher["name"]] == teacher
    for name, entry in made["architectures"].items():
        assert committed["architectures"][name] == entry
    for name, reason in made["unsupported"].items():
        assert committed["unsupported"][name] == reason


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_an_entry_agrees_with_timm(committed: dict[str, Any], architecture: str) -> None:
    entry = committed["architectures"][architecture]
    with torch.device("meta"):
        model = timm.create_model(architecture)
    assert len(model.blocks) == entry["depth"]
    assert model.embed_dim == entry["embed_dim"]
    expected = {
        name.replace("{i}", str(block)): tuple(shape)
        for name, shape in entry["tensors"].items()
        for block in range(entry["depth"])
    }
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == expected


@pytest.mark.parametrize("architecture", RESNETS)
def test_an_entry_of_a_resnet_lists_a_stages_first_block_and_the_others_once(
    committed: dict[str, Any], architecture: str
) -> None:
    entry = committed["architectures"][architecture]
    with torch.device("meta"):
        model = timm.create_model(architecture)
    layers = [getattr(model, f"layer{number}") for number in (1, 2, 3, 4)]
    assert [len(layer) for layer in layers] == entry["stages"]
    expected = {}
    for name, shape in entry["tensors"].items():
        depth = entry["stages"][int(name[5]) - 1] if name.startswith("layer") else 2
        for block in range(1, depth):
            expected[name.replace("{i}", str(block))] = tuple(shape)
    found = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert expected == {name: shape for name, shape in found.items() if "num_batches" not in name}


def test_every_timm_architecture_is_either_supported_or_refused_with_a_reason(
    committed: dict[str, Any],
) -> None:
    supported, refused = committed["architectures"].keys(), committed["unsupported"].keys()
    assert not supported & refused
    assert supported | refused == set(timm.list_models())
    assert all(reason.startswith("it") for reason in committed["unsupported"].values() if reason)


def test_every_pretrained_name_of_a_supported_architecture_passes_with_and_without_tag(
    committed: dict[str, Any],
) -> None:
    names = [name for teacher in committed["teachers"] for name in (teacher["name"], *teacher["aliases"])]
    assert len(names) == len(set(names))
    for architecture in SUPPORTED:
        assert {architecture, *timm.list_pretrained(f"{architecture}.*")} <= set(names)


def test_the_bundled_teacher_comes_first_and_needs_no_network(committed: dict[str, Any]) -> None:
    bundled = committed["teachers"][0]
    assert (bundled["name"], bundled["source"]) == ("sample-digits", "samples/digits_teacher")
    assert (bundled["depth"], bundled["embed_dim"], bundled["max_lora_rank"]) == (12, 56, 56)


def test_swiglu_that_packs_gate_and_value_counts_as_two_matrices(committed: dict[str, Any]) -> None:
    # fc1 is [8192, 1536] there: gate and value of 4096 each.
    assert committed["architectures"]["vit_giant_patch14_dinov2"]["max_lora_rank"] == 1536


def test_the_catalogue_stays_small() -> None:
    assert CATALOGUE.stat().st_size < 1_500_000
