"""The catalogue's counts against the engine's own, over families, depths, image sizes and methods."""

import pytest
import timm
import torch

from core.catalogue import load_catalogue
from core.costs import blocks_of_stages, trained_parameters
from core.kept_blocks import kept_blocks
from core.options import JobOptions
from core.recipes import complete_options
from wecolora.blocks import copy_weights, plan_blocks
from wecolora.config import AdaptedMatrices, Adapter, DistillConfig
from wecolora.cost import count_gmacs
from wecolora.families import describe_model
from wecolora.lora import Pairs, add_lora

CATALOGUE = load_catalogue()


def known(name):
    teacher = CATALOGUE.find_teacher(name)
    network = CATALOGUE.known_network(teacher.resolve(), teacher.parameters)
    assert network is not None
    return network


def options_of(**given):
    return complete_options(given, 8)


def build(name, image_size=None, **arguments):
    with torch.device("meta"):
        if image_size is not None:
            arguments["img_size"] = image_size
        return timm.create_model(name, **arguments).eval()


def test_vit_b16_at_half_depth_trains_what_the_paper_counts():
    network = known("vit_base_patch16_224")
    teacher, student = network.count((12,)), network.count((6,))
    assert (teacher.parameters, round(teacher.gmacs, 2)) == (86_567_656, 17.56)
    assert (student.parameters, round(student.gmacs, 2)) == (44_040_424, 8.84)
    assert trained_parameters(options_of(r=2, k=128), student) == 10_616_832


# One a family; two with heads of their own (1,000 and 21,843 classes, none), one of a fixed size.
NAMES = [
    "vit_base_patch16_224.augreg_in21k",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "deit_tiny_distilled_patch16_224.fb_in1k",
    "vit_base_patch16_clip_224.openai",
    "vit_base_patch16_siglip_224.webli",
    "beit_base_patch16_224.in22k_ft_in22k",
    "eva02_tiny_patch14_224.mim_in22k",
    "xcit_nano_12_p8_224.fb_in1k",
    "cait_xxs24_224.fb_dist_in1k",
    "resnet50.a1_in1k",
    "seresnet50.a1_in1k",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{"r": 2}, {"r": 3, "policy": "first-of-group", "adapter": "dora"}])
def test_a_student_costs_what_the_engine_counts_on_it(name, options):
    network, wanted = known(name), options_of(k=4, **options)
    teacher = build(name)
    kept = kept_blocks(network.stages, wanted)
    student = copy_weights(teacher, kept)
    expected = network.count(blocks_of_stages(network.stages, kept))
    whole = network.count(network.stages)
    assert (whole.parameters, expected.parameters) == tuple(
        sum(parameter.numel() for parameter in model.parameters()) for model in (teacher, student)
    )
    assert (whole.gmacs, expected.gmacs) == pytest.approx(
        (count_gmacs(teacher), count_gmacs(student)), rel=1e-6
    )
    stored = student.state_dict().values()
    assert expected.size_bytes == sum(tensor.numel() * tensor.element_size() for tensor in stored)
    add_lora(student.to_empty(device="cpu"), 4, pairs=Pairs(Adapter(wanted.adapter)))
    trained = sum(parameter.numel() for parameter in student.parameters() if parameter.requires_grad)
    assert trained_parameters(wanted, expected) == trained


@pytest.mark.parametrize("name", ["vit_base_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_224"])
def test_other_image_sizes_cost_what_the_engine_counts(name):
    network = known(name)
    size = 4 * network.patch_size + network.image_size
    model = build(CATALOGUE.find_teacher(name).name, size, depth=3)
    expected = network.count((3,), size)
    assert expected.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert expected.gmacs == pytest.approx(count_gmacs(model), rel=1e-6)


@pytest.mark.parametrize("adapter", ["lora", "dora"])
def test_pairs_on_queries_and_values_alone_are_counted(adapter):
    wanted = options_of(method="weco-lora-qv", k=4, adapter=adapter)
    student = copy_weights(build("deit_tiny_patch16_224"), (1, 3)).to_empty(device="cpu")
    add_lora(student, 4, pairs=Pairs(Adapter(adapter), AdaptedMatrices.QUERY_VALUE))
    trained = sum(parameter.numel() for parameter in student.parameters() if parameter.requires_grad)
    assert trained_parameters(wanted, known("deit_tiny_patch16_224").count((2,))) == trained


def test_what_trains_nothing_and_what_the_loss_decides():
    student = known("deit_tiny_patch16_224").count((6,))
    assert trained_parameters(options_of(method="weco"), student) == 0
    assert trained_parameters(options_of(recipe="instant"), student) == 0
    assert trained_parameters(options_of(method="weco-kd"), student) is None


@pytest.mark.parametrize(
    "policy", ["last-of-group", "first-of-group", "middle-of-group", "both-ends", "measured"]
)
@pytest.mark.parametrize(
    "name", ["vit_base_patch16_224", "vit_large_patch16_224", "resnet18", "resnet50", "resnet101"]
)
def test_the_kept_blocks_are_the_engines(name, policy):
    network = known(name)
    layout = describe_model(build(name))
    for r in range(1, max(network.stages) + 1):
        config = DistillConfig(compression_factor=r, policy=policy)
        kept = kept_blocks(network.stages, JobOptions(r=r, policy=policy))
        assert tuple(kept) == plan_blocks(layout, config)
    assert kept_blocks((12,), JobOptions(r=2, layers=(1, 4))) == [1, 4]


def test_every_teacher_has_its_parameters_and_nearly_every_one_a_cost():
    without = []
    for teacher in CATALOGUE.teachers:
        network = CATALOGUE.known_network(teacher.resolve(), teacher.parameters)
        if network is None:
            without.append(teacher.architecture)
        else:
            assert network.count(network.stages).parameters == teacher.parameters
            # A head of other classes is all that may differ from the architecture.
            assert (network.head_parameters) % (teacher.embed_dim + 1) == 0, teacher.name
    # Maps of 5.5 pixels on a side: their default image is no multiple of the stride.
    assert set(without) <= {"resnet10t", "resnet14t"}
