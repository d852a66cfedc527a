"""The whole service on the bundled sample: from a folder of images to a student that loads in timm.

Starts the embedded service, uploads 400 unlabelled digits, distils the bundled 12-block teacher to 6 blocks, compares
both by a linear probe on labelled digits, and fetches the student. Needs no network. ``./run demo`` calls it.

Usage: ``python -m samples.demo [--r 2] [--k 16] [--epochs 20] [--lr 1e-2] [--seed 0] [--port 8000] [--keep]``
"""

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from samples.demo_service import ROOT, RunningService, embedded_service
from samples.digits import write_digits
from wecolora_client import Client, ClientError
from wecolora_client.show import make_table, watch

TEACHER = "sample-digits"
DEFAULT_FOLDER = ROOT / "var" / "demo"


def main() -> int:
    """Run the demo and return its exit code."""
    options = _parse_options()
    console = Console()
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        run_demo(options, console)
    except KeyboardInterrupt:
        console.print("\n[yellow]Stopped; nothing is left running.[/]")
        return 130
    except ClientError as error:
        console.print(f"[red]The demo failed:[/] {escape(str(error))}")
        return 1
    return 0


def run_demo(options: argparse.Namespace, console: Console) -> None:
    """Start the service, walk the whole path, and stop it unless it is to be kept."""
    started = time.monotonic()
    folder: Path = options.folder.resolve()
    console.print("Writing 1,797 handwritten digits (they come with scikit-learn) …")
    digits = write_digits(folder / "digits")
    console.print("Starting the service on SQLite, a local folder and an embedded queue …")
    with embedded_service(folder, options.port, options.keep) as service:
        with Client(service.url) as client:
            console.print(f"It answers at {service.url}; uploading the images …")
            images = client.upload(digits.unlabelled, "digits, unlabelled")
            labelled = client.upload(folder / "digits", "digits, labelled", subfolders=("train", "test"))
            job = client.create_job(
                name="demo",
                teacher=TEACHER,
                dataset_id=images,
                probe={"dataset_id": labelled},
                r=options.r,
                k=options.k,
                epochs=options.epochs,
                lr=options.lr,
                seed=options.seed,
            )
            for dataset in (images, labelled):
                read_in = client.wait_for_dataset(dataset)
                console.print(f"{read_in.name}: {read_in.image_count} images")
            finished = watch(client, job.id, console)
            student = fetch_student(client, job.id, folder / "student")
        console.print(make_table(finished))
        show_student(student, console)
        if options.keep:
            _say_how_to_stop(service, console)
    console.print(f"Done in {time.monotonic() - started:.0f} s.")


def fetch_student(client: Client, job_id: str, folder: Path) -> Path:
    """Download and unpack the student, in place of an earlier demo's."""
    shutil.rmtree(folder, ignore_errors=True)
    return client.download_student(job_id, folder)


def show_student(folder: Path, console: Console) -> None:
    """Say how the student is loaded, and load it that way."""
    from wecolora import torchvision_compat  # noqa: F401  (slow imports, only needed here; before timm)

    import timm  # isort: skip

    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    line = f'timm.create_model("local-dir:{folder}", pretrained=True)'
    console.print(
        f"The student lies in {folder}. It loads with one line (just done: {len(model.blocks)} blocks):",
        soft_wrap=True,
    )
    console.print(f"  {line}", style="bold", markup=False, highlight=False, soft_wrap=True)


def _say_how_to_stop(service: RunningService, console: Console) -> None:
    console.print(f"The service still runs at {service.url} (interface: {service.url}/docs).")
    console.print(f"Stop it with: kill {service.process_id}; its data: {service.data_dir}")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run demo", description="The whole path on the bundled sample.")
    parser.add_argument("--r", type=int, default=2, help="keep every r-th block (default: %(default)s)")
    parser.add_argument("--k", type=int, default=16, help="rank of the adapters (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=20, help="passes over the images (default: %(default)s)"
    )
    parser.add_argument("--lr", type=float, default=1e-2, help="peak learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--port", type=int, default=None, help="of the service (default: a free one)")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="for digits, data and student")
    parser.add_argument("--keep", action="store_true", help="leave the service running")
    return parser.parse_args()


def _exit_on_signal(number: int, frame: object) -> None:
    # Unwinds the stack, and with it the service.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
