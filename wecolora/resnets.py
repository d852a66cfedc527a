"""Which residual networks the method fits, and which of their matrices are adapted (paper, Section 5).

timm's ``ResNet`` with its two kinds of block: ResNet, Wide ResNet, ResNeXt, SE-ResNet and their stems and shortcuts. It
is built of four stages. The first block of a stage changes width or resolution, so it always stays; the others are
alike, and are skipped as a transformer's blocks are.

A convolution's weight counts as the matrix [out, in / groups · kh · kw] whose rows are its filters. What is no
convolution of the residual branch or of its shortcut (squeeze-and-excitation, norms) stays frozen.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from wecolora.architectures import architecture_name
from wecolora.choices import METHODS_OF_STAGES, Method
from wecolora.errors import UnsupportedArchitecture
from wecolora.layouts import AdaptedMatrix, Stage
from wecolora.torchvision_compat import timm

STAGES = ("layer1", "layer2", "layer3", "layer4")
_CONVOLUTIONS = ("conv", "downsample.")


@dataclass(frozen=True)
class ResNetLayout:
    """What the method needs to know of a ResNet.

    Attributes:
        architecture: timm's name of it.
        stages: its four stages.
        embed_dim: channels of the last map, D.
        matrices: the adapted matrices of every block, in the blocks' order.
    """

    architecture: str
    stages: tuple[Stage, ...]
    embed_dim: int
    matrices: tuple[tuple[AdaptedMatrix, ...], ...]

    @property
    def depth(self) -> int:
        """Blocks of all stages."""
        return len(self.matrices)

    @property
    def max_lora_rank(self) -> int:
        """Largest K that every adapted convolution admits: the smallest side of all their matrices."""
        return min(matrix.max_rank for block in self.matrices for matrix in block)

    @property
    def first_blocks_stay(self) -> bool:
        """The first block of a stage changes width or resolution."""
        return True

    @property
    def token_dimensions(self) -> int:
        """Blocks give maps, [B, D, H, W]."""
        return 4

    @property
    def methods(self) -> frozenset[Method]:
        """Those that need neither attention nor tokens of their own."""
        return METHODS_OF_STAGES

    def timm_arguments(self) -> dict[str, object]:
        """timm's ResNets take their depth as one number a stage."""
        return {"layers": [stage.depth for stage in self.stages]}

    def adapted_layers(self, block: nn.Module) -> Iterator[tuple[str, nn.Conv2d, tuple[int, ...]]]:
        """See `adapted_convolutions`."""
        return adapted_convolutions(block)

    def trainable_parameters(self, lora_rank: int, blocks: Iterable[int]) -> int:
        """Parameters that training updates with this rank on these blocks: K · (out + in / groups · kh · kw) each.

        Args:
            lora_rank: K.
            blocks: numbers, counted over all stages from 0.
        """
        return sum(
            matrix.trainable_parameters(lora_rank) for block in blocks for matrix in self.matrices[block]
        )


def is_resnet(model: nn.Module) -> bool:
    """Whether timm's ``ResNet`` class built it, with whatever kind of block."""
    return isinstance(model, timm.models.resnet.ResNet)


def describe_resnet(model: nn.Module) -> ResNetLayout:
    """Read a ResNet's layout, or say why the method does not fit it.

    Args:
        model: of timm's ``ResNet`` class, on any device, the meta device included.

    Raises:
        UnsupportedArchitecture: its blocks are of another kind, or differ inside a stage; the reason says where.
    """
    architecture = architecture_name(model)
    kinds = (timm.models.resnet.BasicBlock, timm.models.resnet.Bottleneck)
    stages, matrices = [], []
    for number, path in enumerate(STAGES, start=1):
        blocks = list(cast("nn.Sequential", getattr(model, path)))
        foreign = [type(block).__name__ for block in blocks if type(block) not in kinds]
        if foreign or not blocks:
            found = foreign[0] if foreign else "nothing"
            raise UnsupportedArchitecture(
                architecture,
                f"its stage {number} is built of {found}, not of plain basic or bottleneck blocks",
            )
        for index, block in enumerate(blocks[2:], start=2):
            if type(block) is not type(blocks[1]) or _signature(block) != _signature(blocks[1]):
                raise UnsupportedArchitecture(
                    architecture,
                    f"its stage {number} is not of alike blocks: block {index} differs from block 1",
                )
        stages.append(Stage(path, len(blocks)))
        matrices += [tuple(_adapted_matrices(block)) for block in blocks]
    return ResNetLayout(architecture, tuple(stages), int(cast("int", model.num_features)), tuple(matrices))


def adapted_convolutions(block: nn.Module) -> Iterator[tuple[str, nn.Conv2d, tuple[int, ...]]]:
    """Yield path, layer and splits (see `AdaptedMatrix`) of every convolution of the branch and of its shortcut."""
    for path, module in block.named_modules():
        if isinstance(module, nn.Conv2d) and path.startswith(_CONVOLUTIONS):
            yield path, module, (module.out_channels,)


@torch.no_grad()
def measure_batch_norms(model: nn.Module, batches: Iterable[Tensor], device: torch.device) -> tuple[str, ...]:
    """Set the running mean and variance of every BatchNorm to those of the images, and leave it in eval mode.

    Training keeps these statistics frozen. A copied block brings the teacher's; a random network has none, and would be
    trained as if it had no norm at all.

    Args:
        model: on the device; nothing happens to one without BatchNorm.
        batches: normalised images, [B, 3, S, S] each; one of a single image says nothing of a variance and is left out.
        device: of the model.

    Returns:
        Names of the buffers that were set.
    """
    norms = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    if not norms:
        return ()
    momenta = {path: norm.momentum for path, norm in norms.items()}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    for images in batches:
        if len(images) > 1:
            model.forward_features(images.to(device))  # type: ignore[operator]
    for path, norm in norms.items():
        norm.momentum = momenta[path]
        norm.eval()
    return tuple(f"{path}.{name}" for path, norm in norms.items() for name, _ in norm.named_buffers())


def _adapted_matrices(block: nn.Module) -> Iterator[AdaptedMatrix]:
    for path, convolution, splits in adapted_convolutions(block):
        yield AdaptedMatrix(path, convolution.weight[0].numel(), splits)


def _signature(block: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in block.state_dict(keep_vars=True).items()]
