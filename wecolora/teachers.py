"""Load a teacher: a timm name, a timm folder, or a ``.safetensors`` file with its architecture's name.

Only safetensors files of the user's are read, never pickles. What a file does not say (input size, number of
classes) is read off its tensors.
"""

import difflib
import json
import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wecolora.errors import (
    ArchitectureRequired,
    InvalidCheckpoint,
    OutOfRange,
    TeacherUnavailable,
    UnknownTeacher,
    UnsupportedArchitecture,
)
from wecolora.families import check_tokens, describe_model
from wecolora.images import Preprocessing
from wecolora.torchvision_compat import timm
from wecolora.undrawn import UndrawnWeights


@dataclass(frozen=True)
class TeacherSpec:
    """Where a teacher comes from.

    Attributes:
        source: timm model name, path of a timm folder, or path of a ``.safetensors`` file.
        architecture: timm architecture of a bare ``.safetensors`` file.
        image_size: side of the square input in pixels; None keeps the teacher's own. Position embeddings are
            resampled when it differs.
        pretrained: False gives the architecture with random weights (tests and benchmarks).
        mean: of each input channel, of values in 0 … 1, when the source does not say or says otherwise; what a bare
            file was trained with cannot be read off its tensors, and timm's default may be another.
        std: likewise.
    """

    source: str
    architecture: str | None = None
    image_size: int | None = None
    pretrained: bool = True
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def load_teacher(teacher: TeacherSpec | str | Path) -> nn.Module:
    """Load a teacher in fp32 on the CPU, frozen and in eval mode.

    Args:
        teacher: see `TeacherSpec`; a plain string or path is its ``source``.

    Raises:
        UnknownTeacher: no such name, folder or file.
        ArchitectureRequired: a weights file without its architecture.
        InvalidCheckpoint: the file is no safetensors, or its tensors do not fit, or hold NaN or infinity.
        UnsupportedArchitecture: the method does not fit this network.
        TeacherUnavailable: the hub cannot be reached.
        OutOfRange: ``image_size`` does not fit the patch size.
    """
    spec = teacher if isinstance(teacher, TeacherSpec) else TeacherSpec(source=str(teacher))
    path = Path(spec.source)
    if path.is_dir():
        model = _from_folder(path, spec)
    elif path.is_file():
        model = _from_file(path, spec)
    else:
        model = _from_name(spec)
    layout = describe_model(model)
    channels = getattr(model, "in_chans", 3)
    if channels != 3:
        raise UnsupportedArchitecture(layout.architecture, f"it reads {channels} channels, not RGB")
    check_tokens(model, image_size_of(model))
    _normalise_by(model, spec)
    return model.float().eval().requires_grad_(False)


def _normalise_by(model: nn.Module, spec: TeacherSpec) -> None:
    config = cast("dict[str, Any]", model.pretrained_cfg)
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if values is None:
            continue
        least = 0.0 if name == "mean" else 1e-3
        if len(values) != 3 or not all(least <= value <= 1 for value in values):
            raise OutOfRange(
                name, list(values), f"three numbers from {least:g} to 1", "one for each of R, G and B"
            )
        config[name] = tuple(values)


def image_size_of(model: nn.Module) -> int:
    """Side of the model's square input in pixels.

    Raises:
        UnsupportedArchitecture: when its input is not square.
    """
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if size is None:
        config = getattr(model, "pretrained_cfg", None) or {}
        size = getattr(model, "_traits", {}).get("img_size") or config.get("input_size", (3, 224, 224))[-2:]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise UnsupportedArchitecture(type(model).__name__, f"its input is {height} × {width}, not square")
    return int(height)


def preprocessing_of(model: nn.Module) -> Preprocessing:
    """What the model expects to see: its input size, and mean, std, filter and crop of its timm configuration."""
    config = getattr(model, "pretrained_cfg", None) or {}
    known = {name: config[name] for name in ("mean", "std", "interpolation", "crop_pct") if config.get(name)}
    if "mean" in known:
        known["mean"], known["std"] = tuple(known["mean"]), tuple(known["std"])
    return Preprocessing(size=image_size_of(model), **known)


def patch_size_of(model: nn.Module) -> int:
    """Pixels that a token covers on a side: the patch size, a hybrid's backbone and patch together, a map's stride."""
    embedding: Any = getattr(model, "patch_embed", None) or getattr(model, "embeds", None)
    if embedding is None and hasattr(model, "feature_info"):
        return int(cast("Any", model).feature_info[-1]["reduction"])
    grid = getattr(embedding, "grid_size", None)
    if grid:
        return image_size_of(model) // int(grid[0])
    patch = getattr(embedding, "patch_size", 1)
    return int(patch if isinstance(patch, int) else patch[0])


def _from_name(spec: TeacherSpec) -> nn.Module:
    name = spec.source.removeprefix("timm/")
    base = name.split(".", 1)[0]
    looks_like_path = any(mark in spec.source for mark in ("/", "\\")) or name.endswith(".safetensors")
    if looks_like_path or not timm.is_model(base):
        known = timm.list_models(pretrained=True) + timm.list_models()
        raise UnknownTeacher(spec.source, difflib.get_close_matches(name, known, n=3))
    tagged = "." in name
    if tagged and name not in timm.list_pretrained(f"{base}.*"):
        raise UnknownTeacher(spec.source, timm.list_pretrained(f"{base}.*")[:5])
    # The structure is checked on an empty copy first, so that nothing is downloaded in vain.
    describe_model(_build(base, pretrained=False, spec=spec, empty=True))
    if not spec.pretrained:
        return _build(base, pretrained=False, spec=spec)
    if not timm.models.is_model_pretrained(name):
        raise InvalidCheckpoint(
            name, "timm has no pretrained weights for it; give a .safetensors file of your own"
        )
    try:
        return _build(name, pretrained=True, spec=spec)
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        raise TeacherUnavailable(name, _first_line(error)) from error


def _from_folder(folder: Path, spec: TeacherSpec) -> nn.Module:
    config, weights = folder / "config.json", folder / "model.safetensors"
    for file in (config, weights):
        if not file.is_file():
            raise InvalidCheckpoint(
                str(folder), f"it has no {file.name}; a timm folder holds config.json and model.safetensors"
            )
    # Imported here: these students are read with this module's own functions.
    from wecolora.methods.multiplexing import is_multiplexed, load_multiplexed

    if is_multiplexed(folder):
        return load_multiplexed(folder)
    try:
        architecture = json.loads(config.read_text())["architecture"]
    except (ValueError, KeyError) as error:
        raise InvalidCheckpoint(str(config), f"it is not a timm config ({_first_line(error)})") from error
    if not timm.is_model(architecture):
        raise UnknownTeacher(
            str(architecture), difflib.get_close_matches(architecture, timm.list_models(), n=3)
        )
    read_state(weights)
    try:
        return _build(f"local-dir:{folder}", pretrained=True, spec=spec)
    except (RuntimeError, TypeError, KeyError) as error:
        raise InvalidCheckpoint(str(folder), _mismatch(error, architecture)) from error


def _from_file(file: Path, spec: TeacherSpec) -> nn.Module:
    if file.suffix in {".pt", ".pth", ".bin", ".ckpt", ".pkl"}:
        raise InvalidCheckpoint(
            str(file),
            "pickle files can run code when they are read; convert it with safetensors.torch.save_file",
        )
    if file.suffix != ".safetensors":
        raise InvalidCheckpoint(str(file), "it is no .safetensors file")
    if spec.architecture is None:
        raise ArchitectureRequired(str(file))
    if not timm.is_model(spec.architecture):
        close = difflib.get_close_matches(spec.architecture, timm.list_models(), n=3)
        raise UnknownTeacher(spec.architecture, close)
    state = read_state(file)
    empty = _build(spec.architecture, pretrained=False, spec=TeacherSpec(spec.architecture), empty=True)
    describe_model(empty)
    check_image_size(empty, spec.image_size)
    arguments = _arguments_from_state(empty, state)
    if spec.image_size is not None:
        arguments["img_size"] = spec.image_size
    overlay = {
        "state_dict": state,
        "num_classes": arguments["num_classes"],
        "label_offset": None,
        # What timm says of its own weights of this architecture does not hold for the user's.
        **dict.fromkeys(("tag", "license", "description", "origin_url", "hf_hub_id", "url", "notes")),
        **_grid_of(empty, state),
    }
    try:
        model = _build(
            spec.architecture,
            pretrained=True,
            spec=TeacherSpec(spec.architecture),
            pretrained_cfg_overlay=overlay,
            **arguments,
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise InvalidCheckpoint(str(file), _mismatch(error, spec.architecture)) from error
    cast("dict[str, Any]", model.pretrained_cfg).pop("state_dict", None)
    return model


def _build(
    name: str, *, pretrained: bool, spec: TeacherSpec, empty: bool = False, **arguments: Any
) -> nn.Module:
    """timm.create_model with the image size that was asked for, its errors turned into ours."""
    if spec.image_size is not None:
        arguments.setdefault("img_size", spec.image_size)
    undrawn = pretrained or empty  # its weights are loaded, or it has none

    def create(**arguments: Any) -> nn.Module:
        with torch.device("meta") if empty else nullcontext(), UndrawnWeights() if undrawn else nullcontext():
            model: nn.Module = timm.create_model(name, pretrained=pretrained and not empty, **arguments)
        return model

    try:
        model = create(**arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        size = arguments.pop("img_size")
        model = create(**arguments)
        if describe_model(model).token_dimensions == 3:
            raise OutOfRange(
                "image_size", size, "left out", "this architecture has no fixed input"
            ) from error
        if size == image_size_of(model):
            return model
        # A network of maps reads images of any size; which one is meant is written down, for the students, too.
        cast("Any", model).pretrained_cfg["input_size"] = (3, size, size)
    except AssertionError as error:
        raise OutOfRange(
            "image_size", arguments.get("img_size"), "a multiple of the patch size", str(error)
        ) from error
    check_image_size(model, spec.image_size)
    return model


def check_image_size(model: nn.Module, image_size: int | None) -> None:
    """Raise `OutOfRange` when whole patches do not fill the image, or fewer than 2 × 2 do."""
    patch = patch_size_of(model)
    if image_size is not None and (image_size % patch or image_size < 2 * patch):
        raise OutOfRange(
            "image_size", image_size, f"a multiple of {patch}, at least {2 * patch}", "the patch size"
        )


def read_state(file: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file and check that they are finite.

    Raises:
        InvalidCheckpoint: not safetensors, or a tensor holds NaN or infinity (it is named).
    """
    try:
        with safe_open(file, framework="pt") as reader:
            state = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InvalidCheckpoint(str(file), f"it is not a safetensors file ({_first_line(error)})") from error
    if not state:
        raise InvalidCheckpoint(str(file), "it holds no tensors")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InvalidCheckpoint(str(file), f"tensor {name!r} holds NaN or infinity")
    return state


def _arguments_from_state(empty: nn.Module, state: dict[str, Tensor]) -> dict[str, Any]:
    """Number of classes and input size, as the tensors show them."""
    head = state.get("head.weight", state.get("fc.weight"))
    arguments: dict[str, Any] = {"num_classes": 0 if head is None else int(head.shape[0])}
    grid = _grid_side(empty, state)
    if grid is not None:
        arguments["img_size"] = grid * patch_size_of(empty)
    return arguments


def _grid_of(empty: nn.Module, state: dict[str, Tensor]) -> dict[str, Any]:
    """The source checkpoint's input size, for timm to resample position embeddings from."""
    grid = _grid_side(empty, state)
    if grid is None:
        return {}
    side = grid * patch_size_of(empty)
    return {"input_size": (3, side, side), "test_input_size": None, "pool_size": None}


def _grid_side(empty: nn.Module, state: dict[str, Tensor]) -> int | None:
    """Side of the checkpoint's position-embedding grid in patches; None when it has none or is not square."""
    own, stored = getattr(empty, "pos_embed", None), state.get("pos_embed")
    if own is None or stored is None or stored.ndim != 3:
        return None
    prefix = 0 if getattr(empty, "no_embed_class", False) else int(getattr(empty, "num_prefix_tokens", 1))
    tokens = stored.shape[1] - prefix
    side = round(max(tokens, 0) ** 0.5)
    return side if side > 0 and side * side == tokens else None


def _mismatch(error: BaseException, architecture: str) -> str:
    """The first tensor that does not fit, out of torch's long list."""
    shapes = re.search(r"size mismatch for (\S+): .*?(\[[\d, ]*\]).*?(\[[\d, ]*\])", str(error), re.DOTALL)
    if shapes:
        name, found, wanted = shapes.groups()
        return f"tensor {name!r} is {found}, {architecture} has {wanted} there"
    keys = re.search(r"(Missing|Unexpected) key\(s\) in state_dict: \"([^\"]+)\"", str(error))
    if keys:
        kind, name = keys.groups()
        verb = "lacks" if kind == "Missing" else "holds"
        return f"it {verb} tensor {name!r}, which {architecture} {'needs' if kind == 'Missing' else 'does not have'}"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    text = [line.strip() for line in str(error).splitlines() if line.strip()]
    return text[0][:400].rstrip(".") if text else type(error).__name__
