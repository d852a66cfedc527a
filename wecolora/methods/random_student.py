"""The student's network with random weights, for baselines whose own papers train it from scratch."""

import copy

import torch
from torch import nn

from wecolora.architectures import architecture_name
from wecolora.torchvision_compat import timm


def build_random(teacher: nn.Module, seed: int, **arguments: object) -> nn.Module:
    """timm's network of the teacher's architecture with timm's own random initialisation, in eval mode on the CPU.

    The teacher's preprocessing comes with it, so that both see the same pictures.

    Args:
        teacher: a timm network.
        seed: of the weights; the caller's random state is neither used nor changed.
        **arguments: of the architecture, in place of the teacher's: its depth, for one.

    Raises:
        TypeError: timm's architecture does not take an argument.
    """
    wanted = {**timm.models.get_model_args(teacher), **arguments}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student: nn.Module = timm.create_model(architecture_name(teacher), **wanted)
    # timm keeps plain data here, which the type of nn.Module does not foresee.
    student.pretrained_cfg = copy.deepcopy(teacher.pretrained_cfg)
    return student.float().eval()
