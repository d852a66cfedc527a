"""Options, their ranges, and that the engine takes what the service lets through."""

import pytest

import wecolora
from core.broker import celery_config
from core.catalogue import load_catalogue
from core.errors import UnknownTeacher, UnsupportedTeacher
from core.options import JobOptions, TrainingOptions, allowed_values
from core.settings import Settings

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
]


@pytest.mark.parametrize("values", EXTREMES)
def test_the_engine_takes_whatever_the_service_accepts(values):
    stored = JobOptions.model_validate(JobOptions(**values).model_dump(mode="json"))
    config = wecolora.DistillConfig(**stored.to_engine())
    assert (config.compression_factor, config.lora_rank) == (stored.r, stored.k)


def test_defaults_are_those_of_the_engine():
    # The service writes the rank that it chose into the job; the engine chooses the same when it is left open.
    rank = wecolora.DistillConfig().rank(768)
    assert wecolora.DistillConfig(**JobOptions().to_engine()) == wecolora.DistillConfig(lora_rank=rank)


def test_every_option_has_a_range_in_words_and_a_description():
    for name, field in JobOptions.model_fields.items():
        assert field.description, name
        assert allowed_values(field) or name == "layers"


def test_a_form_may_write_layers_with_commas():
    assert TrainingOptions.model_validate({"layers": "1, 3,5"}).layers == (1, 3, 5)


def test_the_catalogue_finds_teachers_by_name_and_by_architecture():
    catalogue = load_catalogue()
    by_alias = catalogue.find_teacher("vit_base_patch16_224")
    assert by_alias.name.startswith("vit_base_patch16_224.")
    assert catalogue.find_teacher(by_alias.name) is by_alias
    assert (by_alias.depth, by_alias.embed_dim, by_alias.max_lora_rank) == (12, 768, 768)
    assert catalogue.find_teacher("sample-digits").resolve().kind == "bundled"
    assert by_alias.resolve().kind == "timm"


@pytest.mark.parametrize("name", ["swin_base_patch4_window7_224", "resnet50", "resnet50.a1_in1k"])
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
