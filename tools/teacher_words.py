"""The words of the teacher catalogue: families, one-line descriptions, reasons for a refusal."""

from typing import Any

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
    "resnext": "resnext",
    "seresnet": "resnet",
    "resnet": "resnet",
    "senet": "resnet",
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


def family_of(name: str) -> str:
    """Family of an architecture or of pretrained weights."""
    return next((family for part, family in _FAMILIES.items() if part in name), "vit")


def describe_pretraining(name: str, shape: dict[str, Any]) -> str:
    """One line for a list: what it is and what it was trained on, as far as timm's tag says."""
    _, _, tag = name.partition(".")
    words = " ".join(_DATA.get(word, word) for word in tag.split("_")) or "pretrained"
    return f"{shape['depth']} blocks of width {shape['embed_dim']}, {words}"
