"""Write ``core/teacher_catalogue.json``: which of timm's architectures can be teachers, and their pretrained weights.

The service answers "is this teacher known, how large may r and k be, does this file fit" from that file, without
torch. Whether an architecture is supported is decided here by the engine itself (`describe_model`,
`copy_weights`) on networks without memory (the meta device), so no weights are fetched and nothing is computed.

Usage: ``python -m tools.make_teacher_catalogue [--out FILE]``, about fifteen minutes on one core. Run it again after an
upgrade of timm or a change of what the engine supports.
"""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tools.network_costs import CostUnknown, Shape, describe_cost
from tools.teacher_words import describe_pretraining, family_of
from wecolora.blocks import copy_weights
from wecolora.errors import UnsupportedArchitecture
from wecolora.families import check_tokens, describe_model, model_blocks
from wecolora.layouts import Layout, first_blocks
from wecolora.teachers import image_size_of, patch_size_of
from wecolora.torchvision_compat import timm

ROOT = Path(__file__).parents[1]
CATALOGUE = ROOT / "core" / "teacher_catalogue.json"
BUNDLED_NAME = "sample-digits"
BUNDLED_FOLDER = "samples/digits_teacher"

Entry = dict[str, Any]


class Refused(Exception):
    """The architecture cannot be a teacher; the message says why."""


def make_catalogue(architectures: Iterable[str]) -> Entry:
    """Describe these timm architectures, supported or not, and the bundled teacher."""
    supported: dict[str, Entry] = {}
    unsupported: dict[str, str] = {}
    teachers = [bundled_teacher()]
    for architecture in architectures:
        try:
            supported[architecture] = describe_architecture(architecture)
        except Refused as refusal:
            unsupported[architecture] = str(refusal)
        else:
            teachers.extend(pretrained_teachers(architecture, supported[architecture]))
    return {
        "generated_with": {"timm": timm.__version__},
        "teachers": teachers,
        "architectures": supported,
        "unsupported": unsupported,
    }


def describe_architecture(architecture: str) -> Entry:
    """Shape of one architecture with timm's default arguments.

    Raises:
        Refused: when the method does not fit it.
    """
    model = _build(architecture)
    try:
        layout = describe_model(model)
        image_size = image_size_of(model)
    except UnsupportedArchitecture as error:
        raise Refused(error.reason) from error
    _check_students(architecture, layout, image_size)
    takes_other_sizes = _takes_other_sizes(architecture, layout, image_size, patch_size_of(model))
    return {
        "family": family_of(architecture),
        **_shape(model, layout),
        "image_size": image_size,
        "dynamic_image_size": takes_other_sizes,
        **_cost(architecture, model, layout, takes_other_sizes),
        "tensors": _tensors(model, layout),
    }


def pretrained_teachers(architecture: str, described: Entry) -> Iterator[Entry]:
    """Every set of pretrained RGB weights that timm has for a supported architecture, its default first."""
    default = timm.models.get_pretrained_cfg(architecture)
    configs = timm.models.get_arch_pretrained_cfgs(architecture)
    for name, config in sorted(configs.items(), key=lambda item: (item[1].tag != default.tag, item[0])):
        if not config.has_weights or config.input_size[0] != 3:
            continue
        model = _build(name)
        is_default = config.tag == default.tag and name != architecture
        yield {
            "name": name,
            "architecture": architecture,
            "aliases": [architecture] if is_default else [],
            **{key: value for key, value in described.items() if key not in ("tensors", "cost")},
            "family": family_of(name),
            "image_size": image_size_of(model),
            "parameters": _parameters(model),
            "license": config.license,
            "mean": list(config.mean),
            "std": list(config.std),
            "description": describe_pretraining(name, described),
        }


def bundled_teacher() -> Entry:
    """The repository's own teacher, which needs no network."""
    model = _build(f"local-dir:{ROOT / BUNDLED_FOLDER}")
    config = model.pretrained_cfg
    image_size, layout = image_size_of(model), describe_model(model)
    return {
        "name": BUNDLED_NAME,
        "source": BUNDLED_FOLDER,
        "architecture": config["architecture"],
        "aliases": [],
        "family": family_of(config["architecture"]),
        **_shape(model, layout),
        "image_size": image_size,
        "dynamic_image_size": True,
        **_cost(f"local-dir:{ROOT / BUNDLED_FOLDER}", model, layout, takes_other_sizes=True),
        "parameters": _parameters(model),
        "license": config["license"],
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "description": config["description"],
    }


def dump(catalogue: Entry) -> str:
    """JSON with one line an entry, so that a diff shows what a new timm changed."""
    sections = []
    for section, entries in catalogue.items():
        if isinstance(entries, list):
            opening, closing = "[", "]"
            lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
        else:
            opening, closing = "{", "}"
            lines = [
                f"{json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)}"
                for key, entry in entries.items()
            ]
        sections.append(f'"{section}": {opening}\n' + ",\n".join(lines) + f"\n{closing}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _build(name: str, **arguments: Any) -> Any:
    """A timm model without memory."""
    with torch.device("meta"):
        return timm.create_model(name, **arguments).eval()


def _shape(model: Any, layout: Layout) -> Entry:
    heads = _num_heads(model_blocks(model)[0])
    return {
        "depth": layout.depth,
        "embed_dim": layout.embed_dim,
        **({} if heads is None else {"num_heads": heads}),
        **({} if len(layout.stages) == 1 else {"stages": [stage.depth for stage in layout.stages]}),
        "max_lora_rank": layout.max_lora_rank,
        "patch_size": patch_size_of(model),
    }


def _cost(name: str, model: Any, layout: Layout, takes_other_sizes: bool) -> Entry:
    """What it and its students cost, where that can be described."""
    is_transformer = len(layout.stages) == 1

    def build(depths: Sequence[int], image_size: int) -> Any:
        if not is_transformer:  # its maps have the size of their image
            return _build(name, layers=list(depths))
        size = {"img_size": image_size} if takes_other_sizes else {}
        return _build(name, depth=depths[0], **size)

    depths = tuple(stage.depth for stage in layout.stages)
    try:
        return {
            "cost": describe_cost(
                build, Shape(depths, image_size_of(model), patch_size_of(model), takes_other_sizes)
            )
        }
    except CostUnknown:
        return {}


def _check_students(architecture: str, layout: Layout, image_size: int) -> None:
    """Cut a student from a small teacher, run it, and see that timm builds the same network at its depth."""
    several = len(layout.stages) > 1
    small = {"layers": [2] * len(layout.stages)} if several else {"depth": 4}
    try:
        teacher = _build(architecture, **small)
        of_teacher = describe_model(teacher)
        copied = copy_weights(teacher, first_blocks(of_teacher.stages) if several else (1, 3))
        student = _build(architecture, **describe_model(copied).timm_arguments())
        check_tokens(copied, image_size)
    except (AssertionError, TypeError, ValueError, IndexError) as error:
        raise Refused("timm cannot build it with another number of blocks") from error
    except UnsupportedArchitecture as error:
        raise Refused(error.reason) from error
    if _shapes(copied) != _shapes(student):
        raise Refused("timm builds another network than its own blocks when the number of blocks changes")


def _features(model: Any, image_size: int) -> Any:
    return model.forward_features(torch.empty(2, 3, image_size, image_size, device="meta"))


def _takes_other_sizes(architecture: str, layout: Layout, image_size: int, stride: int) -> bool:
    if layout.token_dimensions == 4:  # maps have the size of their image
        return True
    try:
        _features(_build(architecture, depth=1, img_size=image_size + stride), image_size + stride)
    except (AssertionError, RuntimeError, TypeError, ValueError):
        return False
    return True


def _num_heads(block: nn.Module) -> int | None:
    heads: list[Any] = [module.num_heads for module in block.modules() if hasattr(module, "num_heads")]
    return int(heads[0]) if heads else None


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def _tensors(model: nn.Module, layout: Layout) -> dict[str, list[int]]:
    """Shapes of a checkpoint's tensors; those of alike blocks are given once, as ``blocks.{i}.…``.

    A ResNet's ``layer3.{i}.…`` are all blocks of the stage but its first. How many batches a norm has seen is left out:
    it is no weight, and nothing depends on it.
    """
    first = 1 if layout.first_blocks_stay else 0
    inside = re.compile(rf"^({'|'.join(stage.path for stage in layout.stages)})\.(\d+)\.")

    def pattern(name: str) -> str:
        return inside.sub(lambda found: f"{found[1]}.{{i}}." if int(found[2]) >= first else found[0], name)

    return {
        pattern(name): shape
        for name, shape in _shapes(model).items()
        if not name.endswith(".num_batches_tracked")
    }


def main() -> None:
    """Write the catalogue of everything that this timm knows."""
    parser = argparse.ArgumentParser(description="Write the catalogue of teachers.")
    parser.add_argument("--out", type=Path, default=CATALOGUE, metavar="FILE")
    out: Path = parser.parse_args().out
    catalogue = make_catalogue(timm.list_models())
    out.write_text(dump(catalogue), encoding="utf-8")
    counts = ", ".join(f"{len(catalogue[key])} {key}" for key in ("teachers", "architectures", "unsupported"))
    print(f"{out}: {counts}, {out.stat().st_size / 1e6:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
