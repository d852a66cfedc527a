"""A teacher whose matrices were converted once says what it said before, to the bit, and is as it was afterwards."""

from contextlib import suppress

import pytest
import torch
from torch import nn

import wecolora
from tests.wecolora.conftest import write_images
from wecolora.devices import autocast
from wecolora.frozen_matrices import FrozenMatrices
from wecolora.torchvision_compat import timm

CPU = torch.device("cpu")
FAMILIES = {
    "ViT": {"model_name": "vit_tiny_patch16_224", "img_size": 64},
    "ViT with bias of its own": {"model_name": "beit_base_patch16_224", "img_size": 64, "depth": 2},
    "ResNet": {"model_name": "resnet18"},
    "convolutions that standardise their weights": {"model_name": "resnetv2_50"},
}


def bits(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_computes_the_same(family):
    torch.manual_seed(0)
    network = timm.create_model(**FAMILIES[family]).eval().requires_grad_(False)
    before, images = bits(network), torch.randn(2, 3, 64, 64)
    matrices = FrozenMatrices(network)
    with autocast(CPU, "bf16"):
        expected = network.forward_features(images)
        with matrices.in_bf16():
            assert torch.equal(network.forward_features(images), expected)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_they_are_converted_once_and_put_back_whatever_happens():
    layer = nn.Linear(3, 2).requires_grad_(False)
    own, matrices, seen = layer.weight.data_ptr(), FrozenMatrices(nn.Sequential(layer)), []
    for _ in range(2):
        with suppress(KeyError), matrices.in_bf16():
            assert layer.weight.dtype is layer.bias.dtype is torch.bfloat16
            seen.append(layer.weight.data_ptr())
            raise KeyError
        assert layer.weight.data_ptr() == own
        assert layer.weight.dtype is torch.float32
    assert seen[0] == seen[1] != own


@pytest.mark.parametrize("recipe", ["paper", "best"])
def test_a_student_is_the_same_with_and_without(teacher, tmp_path, monkeypatch, recipe):
    images = write_images(tmp_path / "images", 12)
    settings = {
        "recipe": recipe,
        "lora_rank": 8,
        "batch_size": 4,
        "epochs": 2,
        "device": "cpu",
        "precision": "bf16",
    }
    students, conversions = [], []
    convert = FrozenMatrices.in_bf16

    def counted(self):
        conversions.append(self)
        return convert(self)

    monkeypatch.setattr(FrozenMatrices, "in_bf16", counted)
    students.append(wecolora.distill(teacher, images, **settings).student)
    assert conversions, "they are in use"
    monkeypatch.setattr(FrozenMatrices, "_set", lambda self, tensors: None)
    students.append(wecolora.distill(teacher, images, **settings).student)
    for name, tensor in students[0].state_dict().items():
        assert torch.equal(tensor, students[1].state_dict()[name]), name
