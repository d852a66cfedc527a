"""Images a second with one process and with several that share every batch, by turns.

On a processor the processes share its cores (gloo), on GPUs each has one (NCCL). Prints JSON lines: the machine, a line
for every number of processes with the median of all turns' steps.

    ./run bench scaling
    ./run bench scaling --model vit_base_patch16_224 --image-size 224 --batch-size 1024 --devices 1 2 4 8
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import wecolora
from benchmarks.machine import describe_machine
from benchmarks.made_images import write_photographs
from wecolora.torchvision_compat import timm


def main() -> None:
    """Run with the options of the command line."""
    options = _parse()
    _print({**describe_machine(), "torch_threads": torch.get_num_threads()})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = write_photographs(folder / "images", options.images)
        torch.manual_seed(0)
        model = timm.create_model(options.model, img_size=options.image_size)
        save_file(model.state_dict(), folder / "teacher.safetensors")
        teacher = wecolora.TeacherSpec(str(folder / "teacher.safetensors"), options.model, options.image_size)
        speeds: dict[int, list[float]] = {devices: [] for devices in options.devices}
        losses: dict[int, float] = {}
        for turn in range(options.repeats):
            for devices, found in speeds.items():
                out = folder / f"{turn}-{devices}"
                wecolora.distill(
                    teacher,
                    images,
                    out=out,
                    recipe="paper",
                    compression_factor=options.r,
                    lora_rank=options.k,
                    batch_size=options.batch_size,
                    epochs=options.epochs,
                    devices=devices,
                )
                steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
                found += [step["images_per_second"] for step in steps[1:]]  # the first one warms up
                losses[devices] = steps[-1]["loss"]
        first = statistics.median(speeds[options.devices[0]])
        for devices, found in speeds.items():
            speed = statistics.median(found)
            line = {
                "devices": devices,
                "images_per_second": round(speed, 2),
                "times": round(speed / first, 2),
            }
            _print({**line, "last_loss": losses[devices]})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="vit_small_patch16_224", help="a timm ViT; its weights are random")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--r", type=int, default=2)
    parser.add_argument("--k", type=int, default=128)
    parser.add_argument("--images", type=int, default=64, help="made for the run")
    parser.add_argument("--batch-size", type=int, default=32, help="of all processes together")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def _print(content: dict[str, object]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
