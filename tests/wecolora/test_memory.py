"""A run within the memory that there is: smaller parts of a batch, blocks computed twice; the student is the same."""

import threading

import pytest
import torch

import wecolora
from tests.wecolora.conftest import write_images
from wecolora import errors
from wecolora.devices import autocast
from wecolora.objectives import TokenObjective
from wecolora.recomputation import recomputed_blocks
from wecolora.training import Trainer

SETTINGS = {"recipe": "paper", "lora_rank": 8, "batch_size": 8, "epochs": 2, "device": "cpu"}


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 20)


def same(student, other):
    expected = other.state_dict()
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4)


def test_parts_of_a_batch_change_the_student_by_rounding_only(teacher, images):
    whole = wecolora.distill(teacher, images, **SETTINGS)
    parts = wecolora.distill(teacher, images, **SETTINGS, micro_batch=3)
    assert whole.report["training"]["micro_batch"] == 8
    assert parts.report["training"]["micro_batch"] == 3
    assert parts.report["training"]["optimiser_steps"] == whole.report["training"]["optimiser_steps"] == 6
    same(parts.student, whole.student)


@pytest.mark.parametrize("kind", ["allocator of a GPU", "allocator of the processor"])
@pytest.mark.parametrize("in_backward", [False, True])
def test_memory_that_does_not_suffice_halves_the_parts_and_not_the_student(
    teacher, images, monkeypatch, kind, in_backward
):
    whole = wecolora.distill(teacher, images, **SETTINGS)
    loss, seen = TokenObjective.loss, []

    def fail(*_):
        if kind == "allocator of a GPU":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    def short_of_memory(self, views, keys, targets):
        seen.append(len(views))
        # Memory suffices at first, so that it runs out in the middle of a step.
        if len(views) > 2 and len(seen) > 1:
            if not in_backward:
                fail()
            value = loss(self, views, keys, targets)
            value.register_hook(fail)
            return value
        return loss(self, views, keys, targets)

    monkeypatch.setattr(TokenObjective, "loss", short_of_memory)
    result = wecolora.distill(teacher, images, **SETTINGS)
    assert seen[:5] == [8, 8, 4, 2, 2]
    assert max(seen[3:]) == 2
    assert result.report["training"]["micro_batch"] == 2
    same(result.student, whole.student)


def test_targets_are_given_up_before_batches_are_taken_apart(teacher, images, monkeypatch):
    settings = {**SETTINGS, "views": 1, "epochs": 3}
    whole = wecolora.distill(teacher, images, **settings)
    loss, seen, asked = TokenObjective.loss, [], []
    teacher.blocks[0].register_forward_pre_hook(lambda _module, inputs: asked.append(len(inputs[0])))

    def short_of_memory_once(self, views, keys, targets):
        seen.append(len(views))
        if len(seen) == 5:  # in the second epoch
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss(self, views, keys, targets)

    monkeypatch.setattr(TokenObjective, "loss", short_of_memory_once)
    result = wecolora.distill(teacher, images, **settings)
    assert result.report["training"]["micro_batch"] == 8
    assert seen == [8, 8, 4, 8, 8, 8, 4, 8, 8, 4]
    batches = [size for size in asked if size in (8, 4)]  # others ask it of single images
    assert batches[:3] == [8, 8, 4]
    # The last batch of the second epoch may have been prepared before, or meanwhile.
    assert sorted(batches[3:]) in ([4, 4, 8, 8, 8], [4, 8, 8, 8]), "it was asked again from there on"
    for name, tensor in whole.student.state_dict().items():
        assert torch.equal(result.student.state_dict()[name], tensor)


@pytest.mark.parametrize("views", [None, 1])
def test_a_teacher_that_is_asked_ahead_says_the_same(teacher, images, monkeypatch, views):
    settings = {**SETTINGS, "micro_batch": 3} | ({} if views is None else {"views": views})
    askers, targets = [], TokenObjective.targets

    def noted(self, images, keys):
        askers.append((threading.current_thread() is threading.main_thread(), len(keys)))
        return targets(self, images, keys)

    monkeypatch.setattr(TokenObjective, "targets", noted)
    ahead = wecolora.distill(teacher, images, **settings)
    sizes = [3, 3, 2, 3, 3, 2, 3, 1]
    assert askers == [(False, size) for size in (sizes if views else 2 * sizes)]

    askers.clear()
    monkeypatch.setattr(Trainer, "_ask_the_teacher", _only_in_the_main_thread(Trainer._ask_the_teacher))
    in_place = wecolora.distill(teacher, images, **settings)
    assert askers == [(True, size) for size in (sizes if views else 2 * sizes)]
    for name, tensor in in_place.student.state_dict().items():
        assert torch.equal(ahead.student.state_dict()[name], tensor), name


def _only_in_the_main_thread(ask):
    def elsewhere_memory_is_short(self, keys, images):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        return ask(self, keys, images)

    return elsewhere_memory_is_short


def test_memory_for_not_even_one_image_is_said(teacher, images, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(TokenObjective, "loss", never)
    with pytest.raises(errors.OutOfMemory, match="one image") as caught:
        wecolora.distill(teacher, images, **SETTINGS)
    assert caught.value.batch_size == 1


def test_memory_for_the_views_of_a_batch_is_said_at_once(teacher, images, monkeypatch):
    def fail(*_):
        raise MemoryError("Unable to allocate 2.34 GiB for an array")

    monkeypatch.setattr("wecolora.views.AugmentedImages.batch", fail)
    with pytest.raises(errors.OutOfMemory, match="batch") as raised:
        wecolora.distill(teacher, images, **SETTINGS)
    assert raised.value.batch_size == 8


def test_other_errors_are_not_taken_for_a_lack_of_memory(teacher, images, monkeypatch):
    def broken(*_):
        raise RuntimeError("the tensor has a negative number of elements")

    monkeypatch.setattr(TokenObjective, "loss", broken)
    with pytest.raises(RuntimeError, match="negative number"):
        wecolora.distill(teacher, images, **SETTINGS)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_blocks_that_are_computed_twice_give_the_same_student(teacher, images, precision):
    plain = wecolora.distill(teacher, images, **{**SETTINGS, "precision": precision})
    twice = wecolora.distill(
        teacher, images, **{**SETTINGS, "precision": precision}, checkpoint_activations=True
    )
    same(twice.student, plain.student)
    assert twice.report["training"]["final_loss"] == pytest.approx(
        plain.report["training"]["final_loss"], rel=1e-4
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_blocks_that_are_computed_twice_keep_less(teacher, precision):
    student = wecolora.add_lora(wecolora.copy_weights(teacher, [0, 2, 4]), 8)
    forwards = [type(block).forward for block in student.blocks]
    views = torch.randn(4, 3, 32, 32)
    device = torch.device("cpu")

    def kept_bytes():
        kept = 0

        def note(tensor):
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        student.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            with autocast(device, precision):
                loss = student.forward_features(views).float().abs().mean()
            during = kept
            loss.backward()
        return during, [
            parameter.grad.clone() for parameter in student.parameters() if parameter.requires_grad
        ]

    everything, gradients = kept_bytes()
    with recomputed_blocks(student, device, precision):
        inputs_only, again = kept_bytes()
    assert inputs_only < everything / 4
    assert all(torch.equal(one, other) for one, other in zip(gradients, again, strict=True))
    assert [type(block).forward for block in student.blocks] == forwards
    assert not any("forward" in vars(block) for block in student.blocks)
