"""Deliver a student: a timm folder that loads with one line, and the unmerged pairs alone."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from wecolora.architectures import architecture_name, is_query_or_value
from wecolora.blocks import copy_weights
from wecolora.config import AdaptedMatrices, Adapter
from wecolora.errors import ExportFailed, InvalidCheckpoint, UnsupportedArchitecture
from wecolora.families import describe_model
from wecolora.lora import DoRALayer, LoRALayer, Pairs, adapter_state, add_lora, lora_layers
from wecolora.torchvision_compat import timm
from wecolora.undrawn import UndrawnWeights

_ADAPTER = "wecolora_adapter"


def check_buildable(student: nn.Module) -> None:
    """Make sure, before any training, that timm can build this student from its architecture and depth.

    Raises:
        UnsupportedArchitecture: when it cannot; the reason says what differs.
    """
    layout = describe_model(student)
    arguments = {**timm.models.get_model_args(student), **layout.timm_arguments()}
    try:
        json.dumps(arguments)
    except TypeError as error:
        raise UnsupportedArchitecture(
            layout.architecture, f"it was built with an argument that config.json cannot hold ({error})"
        ) from error
    try:
        with torch.device("meta"), UndrawnWeights():
            rebuilt = timm.create_model(layout.architecture, **arguments)
    except (TypeError, RuntimeError, AssertionError, ValueError) as error:
        raise UnsupportedArchitecture(
            layout.architecture, f"timm cannot build it with {layout.depth} blocks ({error})"
        ) from error
    ours = {name: tuple(tensor.shape) for name, tensor in student.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in rebuilt.state_dict().items()}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise UnsupportedArchitecture(
                layout.architecture,
                f"tensor {name!r} of the student is {ours.get(name)}, timm builds {theirs.get(name)} at depth "
                f"{layout.depth}",
            )


def export_student(student: nn.Module, folder: Path, provenance: Mapping[str, object] | None = None) -> Path:
    """Write ``config.json`` and ``model.safetensors``, load them back with timm and compare every tensor.

    The folder appears whole or not at all.

    Args:
        student: a merged student (`merge_lora`).
        folder: to write; an older one is replaced.
        provenance: JSON values, kept under ``wecolora`` in the configuration.

    Returns:
        The folder.

    Raises:
        ExportFailed: when the written folder does not load as this student; nothing is delivered then.
        ValueError: when the student still has unmerged pairs.
    """
    if lora_layers(student):
        raise ValueError("merge the student before it is exported (merge_lora)")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    arguments = describe_model(student).timm_arguments()
    extra = {"wecolora": dict(provenance or {})}
    timm.models.save_for_hf(
        student, str(partial), model_config=extra, model_args=arguments, safe_serialization=True
    )
    # safetensors makes its files readable by their owner only; a delivered model is for others too.
    (partial / "model.safetensors").chmod(0o644)
    try:
        _check_loads_back(student, partial)
    except ExportFailed:
        shutil.rmtree(partial)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)
    return folder


def _check_loads_back(student: nn.Module, folder: Path) -> None:
    try:
        with UndrawnWeights():
            loaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (RuntimeError, TypeError, KeyError, AssertionError) as error:
        raise ExportFailed(str(folder), str(error)) from error
    theirs = loaded.state_dict()
    for name, tensor in student.state_dict().items():
        if name not in theirs or not torch.equal(tensor.cpu(), theirs[name]):
            raise ExportFailed(str(folder), f"tensor {name!r} differs")


def export_adapter(
    student: nn.Module, file: Path, blocks: Sequence[int], computed: Sequence[str] = ()
) -> Path:
    """Write the pairs of an unmerged student; with the teacher they give the student back (`load_adapter`).

    Args:
        student: after `add_lora`, not merged.
        file: to write.
        blocks: teacher blocks that the student consists of, counted from 0.
        computed: further tensors of the student that are not the teacher's (a closed form), by name.
    """
    layers = lora_layers(student)
    first = next(iter(layers.values()))
    facts = {
        "architecture": architecture_name(student),
        "blocks": list(blocks),
        "lora_rank": first.lora_rank,
        "scale": first.scale,
        "adapter": Adapter.DORA if isinstance(first, DoRALayer) else Adapter.LORA,
        "matrices": _adapted_matrices(layers),
        "splits": {path: list(layer.splits) for path, layer in layers.items()},
        "computed": list(computed),
    }
    everything = student.state_dict()
    tensors = adapter_state(student) | {name: everything[name] for name in computed}
    partial = file.with_name(f".{file.name}.partial")
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
        partial,
        metadata={_ADAPTER: json.dumps(facts)},
    )
    partial.chmod(0o644)
    partial.replace(file)
    return file


def load_adapter(teacher: nn.Module, file: Path) -> nn.Module:
    """The unmerged student: the teacher's blocks that the file names, with its pairs.

    Raises:
        InvalidCheckpoint: the file is no adapter, or not one of this teacher's architecture.
    """
    with safe_open(file, framework="pt") as reader:
        metadata = reader.metadata() or {}
        if _ADAPTER not in metadata:
            raise InvalidCheckpoint(str(file), "it is no adapter of this program")
        facts = json.loads(metadata[_ADAPTER])
        student = add_lora(
            copy_weights(teacher, facts["blocks"]),
            facts["lora_rank"],
            pairs=Pairs(
                Adapter(facts["adapter"]),
                AdaptedMatrices(facts["matrices"]),
                alpha=facts["scale"] * facts["lora_rank"],
            ),
        )
        everything = student.state_dict()
        parameters = adapter_state(student) | {
            name: everything[name] for name in facts["computed"] if name in everything
        }
        names = set(reader.keys())
        if names != parameters.keys():
            raise InvalidCheckpoint(str(file), f"its pairs are those of {facts['architecture']}")
        for name, parameter in parameters.items():
            stored = reader.get_tensor(name)
            if stored.shape != parameter.shape:
                raise InvalidCheckpoint(
                    str(file),
                    f"tensor {name!r} is {list(stored.shape)}, this teacher needs {list(parameter.shape)}",
                )
            parameter.copy_(stored)
    return student


def _adapted_matrices(layers: Mapping[str, LoRALayer]) -> AdaptedMatrices:
    """Whether every matrix has a pair, or the queries' and values' only."""
    whole = all(all(layer.adapted) for layer in layers.values())
    separate = all(is_query_or_value(path.rsplit(".", 1)[-1], 0) for path in layers)
    return AdaptedMatrices.ALL if whole and not separate else AdaptedMatrices.QUERY_VALUE
