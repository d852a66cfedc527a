"""The engine's loss is that of a plain implementation that shares none of its arithmetic."""

import pytest
import timm
import torch

from benchmarks.plain_distillation import PlainTrainer, make_student
from tests.wecolora.conftest import write_images
from wecolora.config import DistillConfig
from wecolora.lora import lora_layers
from wecolora.low_rank import LoRALinear
from wecolora.pair_products import MergedProduct, Way, cheapest_way
from wecolora.plan import make_plan, make_trainer

STEPS = 50
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])
@pytest.mark.parametrize(("rank", "way"), [(4, Way.BY_PAIRS), (64, Way.BY_MATRIX)])
def test_the_loss_is_the_plain_ones_for_fifty_steps(tmp_path, device, rank, way, monkeypatch):
    torch.manual_seed(0)
    teacher = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, patch_size=8, embed_dim=96, depth=4, num_heads=3
    ).eval()
    config = DistillConfig(
        recipe="paper", lora_rank=rank, batch_size=16, epochs=25, device=device, precision="fp32"
    )
    images = write_images(tmp_path, 32, size=(80, 64))
    plan = make_plan(teacher, images, config, lambda _progress: None)
    plain = PlainTrainer(teacher, make_student(teacher, plan.blocks, rank), torch.device(device))
    _start_alike(plan.preparation.student, plain.student)
    taken = _ways(monkeypatch)

    engine = [result.loss for result in make_trainer(plan).steps()]
    losses = [
        plain.step(plan.views.batch(keys, torch.device(device)), plan.schedule.learning_rate(step))
        for step, keys in enumerate(plan.schedule.micro_batches(0))
    ]

    assert len(engine) == len(losses) == STEPS
    assert losses[-1] < 0.9 * losses[0], "nothing was learnt, so nothing was compared"
    torch.testing.assert_close(torch.tensor(engine), torch.tensor(losses), rtol=1e-4, atol=0)
    assert way in taken, "the form that this test is about was not used"


def _start_alike(engines, plains):
    """A plain layer of each matrix for every pair of the engine's, with the same numbers."""
    for path, layer in lora_layers(engines).items():
        plain = plains.get_submodule(path)
        downs = torch.split(layer.lora_A.detach(), layer.lora_rank)
        ups = torch.split(layer.lora_B.detach(), layer.splits)
        with torch.no_grad():
            for number, (down, up) in enumerate(zip(downs, ups, strict=True)):
                plain.down[number].weight.copy_(down)
                plain.up[number].weight.copy_(up)


def _ways(monkeypatch):
    taken = set()
    apply = MergedProduct.apply

    def note(*arguments):
        taken.add(arguments[-1])
        return apply(*arguments)

    monkeypatch.setattr(MergedProduct, "apply", note)
    return taken


@pytest.mark.parametrize("way", [Way.BY_PAIRS, Way.BY_MATRIX])
@pytest.mark.parametrize("adapted", [(True, True, True), (True, False, True)])
def test_merged_products_have_the_gradients_that_autograd_finds(way, adapted, monkeypatch):
    torch.manual_seed(0)
    layer = LoRALinear(torch.nn.Linear(6, 12), 2, (4, 4, 4), adapted, scale=0.5).double()
    with torch.no_grad():
        layer.lora_A.normal_()
        layer.lora_B.normal_()
    inputs = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    wanted = (inputs, layer.lora_A, layer.lora_B)

    def gradients(chosen):
        monkeypatch.setattr("wecolora.low_rank.cheapest_way", lambda *_, **__: chosen)
        output = layer(inputs)
        return output, torch.autograd.grad(output.sin().sum(), wanted)

    expected, by_autograd = gradients(Way.SEPARATE)
    output, ours = gradients(way)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(ours, by_autograd)


def test_bf16_products_are_as_near_as_two_layers_are():
    torch.manual_seed(0)
    layer = LoRALinear(torch.nn.Linear(64, 96), 32, (96,))
    with torch.no_grad():
        layer.lora_A.normal_(std=0.1)
        layer.lora_B.normal_(std=0.1)
    inputs = torch.randn(4, 50, 64)
    exact = layer.merged()(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = layer(inputs), layer._separate(inputs)
    assert ours.dtype is theirs.dtype is torch.bfloat16
    assert (ours - exact).abs().mean() <= 1.2 * (theirs - exact).abs().mean()


def test_the_way_is_the_one_with_the_fewest_multiply_accumulates():
    square = {"matrix": 384 * 384, "lora_rank": 128}
    pairs = 128 * 768
    # Few tokens do not pay for W + B·A; with more, and so large a rank, the gradient of the matrix is the cheaper.
    assert cheapest_way(64, pairs=pairs, **square, gradients=True) is Way.SEPARATE
    assert cheapest_way(3152, pairs=pairs, **square, gradients=True) is Way.BY_MATRIX
    assert cheapest_way(3152, 768 * 768, 16 * 1536, 16, gradients=True) is Way.BY_PAIRS
    assert cheapest_way(3152, pairs=pairs, **square, gradients=False) is Way.BY_PAIRS
