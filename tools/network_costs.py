"""What a network of some blocks costs, as numbers that the service computes with where torch is not there.

A network of stages of alike blocks costs what it costs with one block a stage and, for every further one, what that
block adds. Both depend on the side s of the grid of patches: linear layers run once a patch (s²), attention compares
all pairs (s⁴), tables of relative positions grow with 2s - 1. So counts at five small sizes give polynomials in s that
hold exactly for every size; each is compared with a count at the network's own size and depth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from core.costs import NetworkCost, NetworkCounts
from core.costs import count_network as add_up
from wecolora.architectures import is_query_or_value
from wecolora.cost import count_gmacs
from wecolora.families import describe_model, model_blocks

SIDES = (2, 3, 4, 5, 6)
_GIGA = 10**9

Entry = dict[str, Any]


class CostUnknown(Exception):
    """The counts do not follow the form that this module describes, such as a map of 176 / 32 pixels on a side."""


@dataclass(frozen=True)
class Shape:
    """A network as it is by default.

    Attributes:
        depths: blocks of each stage.
        image_size: pixels.
        patch_size: pixels a patch, on a side.
        takes_other_sizes: whether timm builds it for images of another size.
    """

    depths: tuple[int, ...]
    image_size: int
    patch_size: int
    takes_other_sizes: bool


def describe_cost(build: Callable[[Sequence[int], int], nn.Module], shape: Shape) -> Entry:
    """The form of `core.costs.NetworkCost`: the base, and what a further block of each stage adds.

    Args:
        build: makes the network without memory, given the blocks of each stage and the side of its input in pixels.
        shape: of the network.

    Raises:
        CostUnknown: when the network does not cost what the description says.
    """
    patch_size = shape.patch_size
    sides = SIDES if shape.takes_other_sizes else (shape.image_size // patch_size,)
    entry = _describe(
        lambda depths, side: build(depths, side * patch_size), len(shape.depths), sides, patch_size
    )
    counted = count_network(build(shape.depths, shape.image_size), shape.image_size)
    side = shape.image_size // patch_size
    described = add_up(NetworkCost.model_validate(entry), shape.depths, side)
    if described != counted:
        raise CostUnknown(f"it costs {counted}, described is {described}")
    return entry


def _describe(
    build: Callable[[Sequence[int], int], nn.Module], stages: int, sides: Sequence[int], patch_size: int
) -> Entry:
    def count(depths: Sequence[int]) -> list[NetworkCounts]:
        return [count_network(build(depths, side), side * patch_size) for side in sides]

    ones = [1] * stages
    shallow = count(ones)
    further = [
        [_minus(more, less) for more, less in zip(count(_with_one_more(ones, stage)), shallow, strict=True)]
        for stage in range(stages)
    ]
    blocks = [_as_entry(sides, counts) for counts in further]
    if stages == 1:
        # All blocks are alike, so that the first one can be taken off, too.
        bare = [_minus(less, block) for less, block in zip(shallow, further[0], strict=True)]
        return {"base": _as_entry(sides, bare), "blocks": blocks}
    return {"base": _as_entry(sides, shallow), "blocks": blocks}


def count_network(model: nn.Module, image_size: int) -> NetworkCounts:
    """Count one network, whatever it is built of."""
    pairs = pairs_qv = rows = rows_qv = 0
    layout = describe_model(model)
    for block in model_blocks(model):
        for path, layer, splits in layout.adapted_layers(block):
            name = path.rsplit(".", 1)[-1]
            columns = layer.weight[0].numel()
            chosen = [split for group, split in enumerate(splits) if is_query_or_value(name, group)]
            pairs += sum(columns + split for split in splits)
            pairs_qv += sum(columns + split for split in chosen)
            rows += len(layer.weight)
            rows_qv += len(layer.weight) if chosen else 0
    stored = model.state_dict().items()
    names = {name for name, _ in model.named_parameters()}
    return NetworkCounts(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=round(count_gmacs(model, image_size) * _GIGA),
        buffer_bytes=sum(
            tensor.numel() * tensor.element_size() for name, tensor in stored if name not in names
        ),
        pairs=pairs,
        pairs_qv=pairs_qv,
        rows=rows,
        rows_qv=rows_qv,
    )


def _minus(counts: NetworkCounts, others: NetworkCounts) -> NetworkCounts:
    """What the first cost beyond the others."""
    return NetworkCounts(**{name: count - getattr(others, name) for name, count in vars(counts).items()})


def _with_one_more(depths: Sequence[int], stage: int) -> list[int]:
    return [depth + (number == stage) for number, depth in enumerate(depths)]


def _as_entry(sides: Sequence[int], counts: Sequence[NetworkCounts]) -> Entry:
    """The form of `core.costs.Cost`; what is nothing is left out."""
    entry: Entry = {}
    for name in vars(counts[0]):
        values = [getattr(each, name) for each in counts]
        if name in ("parameters", "macs", "buffer_bytes"):
            entry[name] = fit_polynomial(sides, values)
        elif len(set(values)) == 1:
            entry[name] = values[0]
        else:
            raise CostUnknown(f"{name} depends on the size of the image: {values}")
    return {name: value for name, value in entry.items() if value}


def fit_polynomial(points: Sequence[int], values: Sequence[int]) -> list[int]:
    """Whole coefficients, the constant first, of the polynomial through the points; without zeros at its end.

    Raises:
        CostUnknown: when a coefficient is no whole number.
    """
    coefficients = [Fraction(0)] * len(points)
    for place, value in zip(points, values, strict=True):
        basis, scale = [Fraction(1)], Fraction(value)
        for other in points:
            if other != place:
                # Multiplied by the factor that is zero at the other point.
                shifted, scaled = [Fraction(0), *basis], [*(other * part for part in basis), Fraction(0)]
                basis = [up - down for up, down in zip(shifted, scaled, strict=True)]
                scale /= place - other
        coefficients = [total + scale * part for total, part in zip(coefficients, basis, strict=True)]
    if any(coefficient.denominator != 1 for coefficient in coefficients):
        raise CostUnknown(f"no polynomial with whole coefficients gives {list(values)} at {list(points)}")
    whole = [int(coefficient) for coefficient in coefficients]
    while whole and whole[-1] == 0:
        whole.pop()
    return whole
