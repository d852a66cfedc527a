"""The words of the teacher catalogue: families, one-line descriptions, reasons for a refusal."""

from typing import Any

from torch import nn

# The first that occurs in a name, tag included, gives the family.
_FAMILIES = {
    "dinov3": "dinov3",
    "dinov2": "dinov2",
    "siglip": "siglip",
    "clip": "clip",
    "eva02": "eva02",
    "eva": "eva",
    "beitv2": "beitv2",
    "beit3": "beit3",
    "beit": "beit",
    "deit3": "deit3",
    "deit": "deit",
    "cait": "cait",
    "xcit": "xcit",
    "aimv2": "aimv2",
    "flexivit": "flexivit",
    "naflexvit": "naflexvit",
    "relpos": "relpos",
    "samvit": "sam",
    ".mae": "mae",
    ".dino": "dino",
}

_DATA = {
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "in12k": "ImageNet-12k",
    "in1k": "ImageNet-1k",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "sat493m": "SAT-493M",
    "webli": "WebLI",
    "datacompxl": "DataComp-XL",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "metaclip": "MetaCLIP",
    "openai": "OpenAI",
    "merged2b": "Merged-2B",
    "ft": "fine-tuned on",
    "dist": "distilled",
    "distilled": "distilled",
}

# Where the structure alone would give a reason that is hard to understand.
_REASONS = {
    "tnt": "its blocks carry two rows of tokens, of pixels and of patches",
    "qwen3_vit": "it is a language model's image encoder whose features are not one row of tokens",
    "deepseek_vit": "it is a language model's image encoder whose features are not one row of tokens",
    "gemma4_vit": "it is a language model's image encoder whose features are not one row of tokens",
    "vision_transformer_sam": "its features are a map, and its blocks differ in the window they attend to",
}


def family_of(name: str) -> str:
    """Family of an architecture or of pretrained weights."""
    return next((family for part, family in _FAMILIES.items() if part in name), "vit")


def describe_pretraining(name: str, shape: dict[str, Any]) -> str:
    """One line for a list: what it is and what it was trained on, as far as timm's tag says."""
    _, _, tag = name.partition(".")
    words = " ".join(_DATA.get(word, word) for word in tag.split("_")) or "pretrained"
    return f"{shape['depth']} blocks of width {shape['embed_dim']}, {words}"


def fixed_refusal(model: nn.Module) -> str | None:
    """A reason that holds for a whole timm module."""
    return _REASONS.get(type(model).__module__.rsplit(".", 1)[-1])


def reason_to_refuse(model: nn.Module, engine_reason: str) -> str:
    """The engine's reason where it looked at transformer blocks, else what the network is instead."""
    if not any(hasattr(module, "num_heads") for module in model.modules()):
        convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
        if convolutions > 2:
            return "it is a convolutional network without transformer blocks"
        return "it mixes tokens without self-attention"
    if "blocks are not alike" in engine_reason:
        return engine_reason
    return "it is built of stages of different widths or resolutions"
