"""Methods that copy blocks, or at least the depth: `wecolora`, `weco-lora-qv`, `weco-kd`, `weco` and `kd`."""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from wecolora.blocks import copy_weights
from wecolora.closed_form import TOKEN_BYTES, BlockFit, refit_blocks
from wecolora.config import AdaptedMatrices, Initialisation, LoraInit, Method
from wecolora.directions import input_directions
from wecolora.errors import UnsupportedArchitecture
from wecolora.families import describe_model, model_blocks
from wecolora.layouts import block_paths
from wecolora.lora import Pairs, add_lora, lora_layers, merge_lora
from wecolora.methods.base import Context, Preparation
from wecolora.methods.random_student import build_random
from wecolora.objectives import TokenObjective
from wecolora.residual_refit import check_refittable, refit_residual_blocks
from wecolora.resnets import measure_batch_norms

_REFIT_BATCH = 64


def prepare_copies(context: Context) -> Preparation:
    """Algorithm 1, steps 2 to 8, and the paper's ablations of it (Table 1)."""
    config = context.config
    method = config.method
    student = (
        _random_student(context) if method is Method.KD else copy_weights(context.teacher, context.blocks)
    )
    student.to(context.device)
    fits, notes = _refit(student, context)
    changed = _changed(student, context) if fits else ()
    if method is Method.KD and not context.restoring:
        changed = measure_batch_norms(student, views_by_image(context, 1), context.device)
    objective = TokenObjective(config, context.group_ends()[:-1])
    if method in (Method.WECOLORA, Method.WECO_LORA_QV):
        _add_pairs(student, context)
        return Preparation(
            student,
            objective,
            merge_lora,
            _under_pairs(student, changed),
            fits,
            context.lora_rank,
            notes=notes,
        )
    student.requires_grad_(method is not Method.WECO)
    return Preparation(
        student, objective, lambda trained: trained.requires_grad_(True), changed, fits, notes=notes
    )


def _refit(student: nn.Module, context: Context) -> tuple[list[BlockFit], tuple[str, ...]]:
    """Refit the copies where the settings say so; what was done instead, in words, where a recipe cannot.

    Raises:
        UnsupportedArchitecture: there is no closed form for these blocks, and it is the user who asked for it.
    """
    config = context.config
    if config.init is not Initialisation.CLOSED_FORM or config.method is Method.KD:
        return [], ()
    of_maps = context.layout.token_dimensions == 4
    refit = refit_residual_blocks if of_maps else functools.partial(refit_blocks, precision=context.precision)
    try:
        if of_maps:
            check_refittable(student)
        if context.restoring:
            return [], ()
        fits = refit(
            student,
            context.teacher,
            views_by_image(context, config.refit_views),
            context.group_ends(),
            ridge=config.refit_ridge,
            on_block=context.on_progress,
        )
    except UnsupportedArchitecture as error:
        if "init" in config.differences_from_recipe():
            raise
        # A recipe works on every teacher: what it cannot do on this one is left out, and said.
        return [], (f"recipe {config.recipe} starts from plain copies here: {error.reason}",)
    return fits, ()


def views_by_image(context: Context, views: int) -> Iterator[Tensor]:
    """Batches in which every image lies with all its views, as many images as memory holds the tokens of."""
    images = context.images
    first = images[(0, 0)]
    largest = _largest_output(context.teacher, first.to(context.device))
    most = max(1, TOKEN_BYTES // (2 * 4 * largest * views))
    chunk = max(1, _REFIT_BATCH // views)
    count = min(len(images), most)
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        keys = [(view, index) for index in range(start, stop) for view in range(views)]
        yield images.batch(keys, context.device)


def _largest_output(model: nn.Module, image: Tensor) -> int:
    """Numbers in the largest output of any block for one image; a ResNet's maps shrink on their way."""
    sizes: list[int] = []
    handles = [
        block.register_forward_hook(lambda _block, _inputs, output: sizes.append(output.numel()))
        for block in model_blocks(model)
    ]
    try:
        with torch.no_grad():
            model.forward_features(image[None])  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    return max(sizes)


def _add_pairs(student: nn.Module, context: Context) -> None:
    config = context.config
    directions = None
    if config.lora_init is LoraInit.EVA and not context.restoring:
        directions = input_directions(student, views_by_image(context, 1), context.lora_rank, context.device)
    only_qv = config.method is Method.WECO_LORA_QV
    pairs = Pairs(
        config.adapter,
        AdaptedMatrices.QUERY_VALUE if only_qv else AdaptedMatrices.ALL,
        config.lora_alpha,
        config.lora_init,
    )
    add_lora(student, context.lora_rank, config.seed, pairs=pairs, directions=directions)


def _changed(student: nn.Module, context: Context) -> tuple[str, ...]:
    """Tensors of the blocks that the closed form made different from the teacher's."""
    theirs = model_blocks(context.teacher)
    trios = zip(block_paths(describe_model(student)), model_blocks(student), context.blocks, strict=True)
    return tuple(
        f"{path}.{name}"
        for path, block, kept in trios
        for original in [theirs[kept].state_dict()]
        for name, tensor in block.state_dict().items()
        if not torch.equal(tensor, original[name])
    )


def _under_pairs(student: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """The same tensors by their names inside adapted layers."""
    adapted = lora_layers(student)
    return tuple(
        f"{path}.base.{leaf}" if path in adapted else name
        for name in names
        for path, _, leaf in [name.rpartition(".")]
    )


def _random_student(context: Context) -> nn.Module:
    """The student's network with timm's own random initialisation (Table 1, first row)."""
    shape = describe_model(copy_weights(context.teacher, context.blocks)).timm_arguments()
    return build_random(context.teacher, context.config.seed, **shape)
