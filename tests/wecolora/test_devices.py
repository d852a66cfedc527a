"""What is switched for the time of a computation is switched back, also after an error."""

from contextlib import suppress

import pytest
import torch

from wecolora.devices import deterministic, exact_products_of_bf16, kept_on


@pytest.mark.parametrize(
    ("device", "backend", "form"),
    [("cpu", torch.backends.mkldnn.matmul, "bf16"), ("cuda", torch.backends.cuda.matmul, "tf32")],
)
def test_products_of_bf16_numbers_are_exact_and_others_as_before(device, backend, form):
    before = backend.fp32_precision
    with suppress(KeyError), exact_products_of_bf16(torch.device(device)):
        assert backend.fp32_precision == form
        raise KeyError
    assert backend.fp32_precision == before
    if device == "cpu":
        left, right = (torch.randn(64, 300).bfloat16().float() for _ in range(2))
        with exact_products_of_bf16(torch.device("cpu")):
            product = left @ right.T
        assert torch.allclose(product.double(), left.double() @ right.double().T, rtol=1e-5, atol=1e-4)


def test_a_run_on_a_gpu_is_deterministic_and_does_not_fill_what_it_overwrites():
    told = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), told.fill_uninitialized_memory
    with suppress(KeyError), deterministic(torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled()
        assert not told.fill_uninitialized_memory
        raise KeyError
    assert (torch.are_deterministic_algorithms_enabled(), told.fill_uninitialized_memory) == before


@pytest.mark.parametrize(("free", "place"), [(4000, "cuda:0"), (3999, "cpu")])
def test_data_is_kept_on_a_gpu_where_it_has_four_times_the_room(monkeypatch, free, place):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free, 10_000))
    assert kept_on(torch.device("cuda:0"), 1000) == torch.device(place)


def test_a_processor_keeps_data_in_its_own_memory():
    assert kept_on(torch.device("cpu"), 10**15) == torch.device("cpu")
