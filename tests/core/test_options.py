"""Options, their ranges, and that the engine takes what the service lets through."""

from enum import StrEnum
from typing import Literal, get_args, get_origin

import pytest
import timm
import torch

import wecolora
from core.broker import celery_config
from core.catalogue import load_catalogue
from core.errors import UnknownTeacher, UnsupportedTeacher
from core.options import JobOptions, TrainingOptions, allowed_values, check_against_teacher
from core.recipes import FILE, check_combinations, complete_options, given_options
from core.settings import Settings
from tools.make_engine_options import DOCUMENT, describe_options, dump, with_table
from wecolora.combinations import check_combinations as wecolora_combinations
from wecolora.errors import OutOfRange
from wecolora.families import describe_model

EXTREMES = [
    {},
    {"r": 1, "k": 1, "epochs": 1, "warmup_epochs": 0.5, "batch_size": 1, "seed": 0, "lr": 1e-9},
    {
        "r": 1000,
        "k": 65536,
        "epochs": 1000,
        "warmup_epochs": 999,
        "batch_size": 4096,
        "seed": 2**32 - 1,
        "lr": 1,
    },
    {"layers": [0, 2, 4], "policy": "first-of-group", "loss_place": "after-norm", "precision": "fp32"},
    {"few_shot_ratio": 0.001, "weight_decay": 1, "accumulate": 1024, "image_size": 4096, "device": "cpu"},
    {"refit_views": 1000, "refit_ridge": 1e6, "lora_alpha": 1e6, "cls_weight": 1e6, "block_weight": 1e6},
    {"views": 1000, "smallest_crop": 1, "mask_ratio": 0.999, "normalise_targets": True, "epochs": 0},
]
# Names that users know from the paper.
ENGINE_NAMES = {"r": "compression_factor", "k": "lora_rank", "lr": "learning_rate"}


def choices(annotation):
    """What a field chooses between: the values of an enum, or of a Literal."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return [str(choice) for choice in annotation]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in choices(part)]


@pytest.mark.parametrize("values", EXTREMES)
def test_the_engine_takes_whatever_the_service_accepts(values):
    stored = JobOptions.model_validate(JobOptions(**values).model_dump(mode="json"))
    config = wecolora.DistillConfig(**stored.to_engine())
    assert (config.compression_factor, config.lora_rank) == (stored.r, stored.k)


def test_the_service_offers_every_option_of_the_engine_with_the_same_choices():
    ours = {ENGINE_NAMES.get(name, name): field for name, field in JobOptions.model_fields.items()}
    theirs = wecolora.DistillConfig.model_fields
    assert set(ours) == set(theirs), "a new option is one line in core/options.py"
    for name, field in theirs.items():
        assert choices(ours[name].annotation) == choices(field.annotation), name


METHODS_AND_RECIPES = [
    {},
    {"recipe": "paper"},
    {"recipe": "instant"},
    {"method": "kd"},
    {"method": "weco-kd", "recipe": "best"},
    {"method": "dmae", "mask_ratio": 0.5},
    {"recipe": "best", "init": "copy", "epochs": 3, "lr": None},
]


@pytest.mark.parametrize("given", METHODS_AND_RECIPES)
def test_unset_options_come_to_what_the_engine_makes_of_them(given):
    completed = complete_options(given_options(TrainingOptions(**given)), lora_rank=8)
    assert check_combinations(completed) == []
    config = wecolora.DistillConfig.model_validate({**given, "lora_rank": 8})
    assert wecolora.DistillConfig(**completed.to_engine()) == config
    assert completed.recipe == config.recipe
    for name, value in completed.model_dump(mode="json").items():
        assert value == config.model_dump(mode="json")[ENGINE_NAMES.get(name, name)], name


COMBINATIONS = [
    ({"method": "kd", "epochs": 0}, "epochs"),
    ({"method": "weco-kd", "epochs": 0, "recipe": "best"}, "epochs"),
    ({"method": "deit", "recipe": "instant"}, "recipe"),
    ({"method": "kd", "init": "closed-form"}, "init"),
    ({"method": "kd", "recipe": "best"}, None),
    ({"recipe": "paper", "refit_views": 3}, "refit_views"),
    ({"recipe": "best", "refit_views": 3}, None),
    ({"init": "copy", "refit_ridge": 0.1}, "refit_ridge"),
    ({"method": "weco-kd", "adapter": "dora"}, "adapter"),
    ({"method": "weco-kd", "adapter": "lora"}, None),
    ({"method": "kd", "lora_alpha": 16}, "lora_alpha"),
    ({"pseudo_labels": "soft"}, "pseudo_labels"),
    ({"method": "deit", "pseudo_labels": "soft"}, None),
    ({"mask_ratio": 0.5}, "mask_ratio"),
    ({"method": "weco", "epochs": 0}, None),
    ({"epochs": 0}, None),
    ({"method": "kd", "k": 8}, None),
]


@pytest.mark.parametrize(("given", "field"), COMBINATIONS)
def test_service_and_engine_refuse_the_same_combinations(given, field):
    problems = check_combinations(complete_options(given, lora_rank=8))
    renamed = {ENGINE_NAMES.get(name, name): value for name, value in given.items()}
    config = wecolora.DistillConfig.model_validate(renamed)
    if field is None:
        assert problems == []
        wecolora_combinations(config)
        return
    (problem,) = problems
    assert (problem.field, problem.input) == (field, given[field])
    with pytest.raises(OutOfRange, match=f"^{field} is .*: it must be {problem.allowed}") as caught:
        wecolora_combinations(config)
    assert problem.message in str(caught.value)


def test_the_document_has_every_option_as_it_is():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == with_table(text, describe_options()), "run python -m tools.make_engine_options"
    for name in JobOptions.model_fields:
        assert f"| `{name}` |" in text


def test_the_committed_file_is_what_the_engine_says():
    assert FILE.read_text(encoding="utf-8") == dump(describe_options()), (
        "run python -m tools.make_engine_options"
    )


def test_every_option_has_a_range_in_words_and_a_description():
    for name, field in JobOptions.model_fields.items():
        assert field.description, name
        assert allowed_values(field) or name == "layers"


def test_a_form_may_write_layers_with_commas():
    assert TrainingOptions.model_validate({"layers": "1, 3,5"}).layers == (1, 3, 5)


@pytest.mark.parametrize(
    ("layers", "is_refused"),
    [([0, 3, 7, 13], False), ([0, 2, 3, 7, 8, 13], False), ([0, 4, 7, 13], True), ([3, 7, 13], True)],
)
def test_the_first_block_of_each_stage_of_a_resnet_is_kept_or_the_job_refused(layers, is_refused):
    limits = load_catalogue().find_teacher("resnet50.a1_in1k").limits()
    problems = check_against_teacher(JobOptions(k=8, layers=layers), limits)
    assert [problem.field for problem in problems] == ["layers"] * is_refused
    assert all("0, 3, 7, 13" in problem.allowed for problem in problems)


def test_the_catalogue_finds_teachers_by_name_and_by_architecture():
    catalogue = load_catalogue()
    by_alias = catalogue.find_teacher("vit_base_patch16_224")
    assert by_alias.name.startswith("vit_base_patch16_224.")
    assert catalogue.find_teacher(by_alias.name) is by_alias
    assert (by_alias.depth, by_alias.embed_dim, by_alias.max_lora_rank) == (12, 768, 768)
    assert catalogue.find_teacher("sample-digits").resolve().kind == "bundled"
    assert by_alias.resolve().kind == "timm"


@pytest.mark.parametrize("name", ["swin_base_patch4_window7_224", "convnext_base", "convnext_base.fb_in1k"])
def test_what_cannot_work_is_refused_by_name_with_the_reason(name):
    with pytest.raises(UnsupportedTeacher, match=rf"{name} is not supported: .{{10,}}"):
        load_catalogue().find_teacher(name)


def test_a_misspelt_name_is_answered_with_the_nearest_ones():
    with pytest.raises(UnknownTeacher, match="did you mean vit_base_patch16_224"):
        load_catalogue().find_teacher("vit_base_patch16_22")


def test_messages_are_json_and_acknowledged_at_once(tmp_path):
    config = celery_config(Settings(data_dir=tmp_path))
    assert config["accept_content"] == ["json"]
    assert config["task_acks_late"] is False
    assert config["worker_prefetch_multiplier"] == 1


@pytest.mark.parametrize("method", get_args(JobOptions.model_fields["method"].annotation))
def test_a_method_that_does_not_fit_a_resnet_is_refused_as_the_engine_would(method):
    limits = load_catalogue().find_teacher("resnet50.a1_in1k").limits()
    problems = check_against_teacher(complete_options({"method": method}, 8), limits)
    with torch.device("meta"):
        fits = method in describe_model(timm.create_model("resnet50")).methods
    assert [problem.field for problem in problems] == ([] if fits else ["method"])
    vit = load_catalogue().find_teacher("vit_base_patch16_224").limits()
    assert check_against_teacher(complete_options({"method": method}, 8), vit) == []
