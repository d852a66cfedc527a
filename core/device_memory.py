"""How much memory a job takes on its device, about: which GPUs it fits, before any has seen it.

A job halves its micro-batch until its step fits, so what it must have is what a small one takes. Counted are weights,
what the optimiser keeps, the matrices with their pairs, what the backward pass keeps of the student's blocks, the
refit's normal equations and the runtime's own share. `./run bench device_memory` compares this with what runs take.
"""

from collections.abc import Sequence
from typing import Final

from core.costs import KnownNetwork, NetworkCounts, blocks_of_stages, trained_parameters
from core.errors import FieldProblem
from core.options import JobOptions
from core.settings import GIBIBYTE

RUNTIME_BYTES: Final = GIBIBYTE
"""Libraries, kernels and workspaces."""
SMALL_MICRO_BATCH: Final = 8
"""With fewer images at once a GPU idles."""
WEIGHT_BYTES: Final = 4
"""Parameters stay in float32, whatever the arithmetic."""
CONVERTED_BYTES: Final = 2
"""Where the arithmetic is bf16, the teacher's are kept in it as well."""
TRAINED_BYTES: Final = 12
"""A gradient and AdamW's two moments."""
PRODUCT_BYTES: Final = 8
"""W + B·A of every matrix, as it is summed and as it is multiplied with."""
KEPT_BYTES: Final = {"bf16": 34, "fp32": 68}
"""That a transformer's block keeps for the backward pass, for each number in its tokens: counted by autograd's hooks,
and in bf16 what Korthikanti et al. (2022, equation 2) count by hand."""
CHECKPOINT_BYTES: Final = 5
"""The same where blocks are computed twice: little more than their input."""
BYTES_A_MAC: Final = 0.03
"""That a convolutional network keeps for each multiply-accumulate of an image."""


def needed_bytes(options: JobOptions, network: KnownNetwork, kept: Sequence[int]) -> int:
    """Memory on one device that lets a job run at a reasonable pace.

    Args:
        options: complete.
        network: the teacher.
        kept: blocks of it that the student keeps.
    """
    teacher = network.count(network.stages, options.image_size)
    student = network.count(blocks_of_stages(network.stages, kept), options.image_size)
    trained = trained_parameters(options, student)
    pairs = trained or 0
    weights = WEIGHT_BYTES * (teacher.parameters + student.parameters + pairs)
    if options.precision != "fp32":
        weights += CONVERTED_BYTES * teacher.parameters
    products = PRODUCT_BYTES * student.parameters if pairs else 0
    steps = TRAINED_BYTES * (student.parameters if trained is None else trained)
    micro_batch = min(options.micro_batch or SMALL_MICRO_BATCH, options.batch_size or SMALL_MICRO_BATCH)
    activations = micro_batch * _activation_bytes(options, network, student, len(kept))
    return RUNTIME_BYTES + weights + max(products + steps + activations, _refit_bytes(options, network))


def _activation_bytes(options: JobOptions, network: KnownNetwork, student: NetworkCounts, blocks: int) -> int:
    """Of one image, for the backward pass."""
    if len(network.stages) > 1:
        return round(BYTES_A_MAC * student.macs)
    tokens = ((options.image_size or network.image_size) // network.patch_size) ** 2 + 1
    numbers = tokens * network.embed_dim
    a_block = KEPT_BYTES["fp32" if options.precision == "fp32" else "bf16"] * numbers
    if options.checkpoint_activations:
        return blocks * CHECKPOINT_BYTES * numbers + a_block
    return blocks * a_block


def _refit_bytes(options: JobOptions, network: KnownNetwork) -> int:
    """Normal equations of the widest layer, in float64, three times: as they are summed, solved and shrunk."""
    if options.init != "closed-form" or len(network.stages) > 1:
        return 0
    return 3 * 8 * (4 * network.embed_dim + 1) ** 2


def check_device_memory(needed: int | None, largest: int | None) -> list[FieldProblem]:
    """Whether a device of this service has room for a job.

    Args:
        needed: bytes, of `needed_bytes`; None: unknown, so that only a try can tell.
        largest: bytes of the largest device; None: enough for any job.
    """
    if needed is None or largest is None or needed <= largest:
        return []
    message = (
        f"the job needs about {needed / GIBIBYTE:.0f} GiB on a device, and the largest of this service has "
        f"{largest / GIBIBYTE:g} (WECOLORA_DEVICE_GIB): choose a smaller teacher or image_size, or set "
        "checkpoint_activations or a smaller micro_batch"
    )
    return [FieldProblem("teacher", message, f"at most {largest / GIBIBYTE:g} GiB")]
