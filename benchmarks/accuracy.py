"""How good is the student? Linear probe and token distance of teacher, copied blocks and distilled student.

By default on the sample of this repository (handwritten digits and their teacher); with options on any teacher and
images. Prints one line of JSON a model, and the machine.

    ./run bench accuracy
    ./run bench accuracy --teacher own.safetensors --architecture vit_small_patch14_dinov2 \
        --images unlabelled --train train --test test --k 64 --seeds 0 1
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

import wecolora
from benchmarks.machine import describe_machine
from samples.digits import write_digits
from wecolora.images import PlainImages, find_images
from wecolora.losses import TokenReader
from wecolora.teachers import preprocessing_of

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "digits_teacher"


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    with tempfile.TemporaryDirectory() as scratch:
        images, train, test = _folders(options, Path(scratch))
        teacher = wecolora.load_teacher(wecolora.TeacherSpec(options.teacher, options.architecture))
        layout = wecolora.describe_model(teacher)
        blocks = wecolora.select_blocks(layout.depth, options.r, options.policy)
        _print({**describe_machine(), "torch_threads": torch.get_num_threads()})
        _measure("teacher", teacher, teacher, train, test)
        _measure("copied blocks", wecolora.copy_weights(teacher, blocks), teacher, train, test)
        for seed in options.seeds:
            started = time.perf_counter()
            result = wecolora.distill(
                teacher,
                images,
                recipe="paper",
                compression_factor=options.r,
                lora_rank=options.k,
                policy=options.policy,
                epochs=options.epochs,
                learning_rate=options.lr,
                seed=seed,
            )
            seconds = time.perf_counter() - started
            training = result.report["training"]
            _measure(
                f"wecolora, seed {seed}", result.student, teacher, train, test,
                seconds=round(seconds, 1), training=training,
            )  # fmt: skip


def _measure(
    name: str, model: nn.Module, teacher: nn.Module, train: Path, test: Path, **more: object
) -> None:
    probe = wecolora.linear_probe(model, train, test)
    distance = token_distance(model, teacher, test)
    _print({"model": name, "probe_accuracy": probe.accuracy, "token_l1_on_test": distance, **more})


@torch.inference_mode()
def token_distance(student: nn.Module, teacher: nn.Module, folder: Path) -> float:
    """L1 between the tokens of the last blocks, on centre-cropped images."""
    images = PlainImages(find_images(folder), preprocessing_of(teacher))
    total = 0.0
    with TokenReader(student.eval()).attached() as of_student:
        for batch in torch.utils.data.DataLoader(images, batch_size=100):
            tokens = of_student(batch)
            with TokenReader(teacher).attached() as of_teacher:
                total += float((tokens - of_teacher(batch)).abs().mean()) * len(batch)
    return total / len(images)


def _folders(options: argparse.Namespace, scratch: Path) -> tuple[Path, Path, Path]:
    if options.images is not None:
        return options.images, options.train, options.test
    write_digits(scratch)
    return scratch / "unlabelled", scratch / "train", scratch / "test"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default=str(SAMPLE))
    parser.add_argument("--architecture")
    parser.add_argument("--images", type=Path, help="unlabelled; with --train and --test")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--r", type=int, default=2)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--policy", default="last-of-group")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


def _print(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
