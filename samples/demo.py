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
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table

from samples.demo_service import ROOT, RunningService, embedded_service
from samples.digits import write_digits
from samples.service_client import Json, ServiceClient, ServiceError

TEACHER = "sample-digits"
DEFAULT_FOLDER = ROOT / "var" / "demo"


@dataclass(frozen=True)
class Row:
    """One line of the table: how to find the figure in a model's part of the result, and how to write it."""

    title: str
    key: str
    write: Callable[[float], str]
    is_cost: bool = True


ROWS = (
    Row("linear-probe accuracy", "probe_accuracy", lambda share: f"{share:.1%}", is_cost=False),
    Row("blocks", "depth", lambda count: f"{count:.0f}"),
    Row("parameters", "parameters", lambda count: f"{count / 1e6:.3f} M"),
    Row("GMACs an image", "gmacs", lambda giga: f"{giga:.4f}"),
    Row("latency, one image", "latency_ms", lambda milliseconds: f"{milliseconds:.2f} ms"),
    Row("model.safetensors", "file_size_bytes", lambda size: f"{size / 1e6:.2f} MB"),
)


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
    except (ServiceError, httpx2.HTTPError) as error:
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
        client = ServiceClient(service.url)
        try:
            console.print(f"It answers at {service.url}; uploading the images …")
            images = client.upload_folder(digits.unlabelled, "digits, unlabelled")
            labelled = client.upload_folder(folder / "digits", "digits, labelled", ("train", "test"))
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
                console.print(f"{read_in['name']}: {read_in['image_count']} images")
            finished = watch(client, job["id"], console)
            student = fetch_student(client, job["id"], folder / "student")
        finally:
            client.close()
        console.print(make_table(finished))
        show_student(student, console)
        if options.keep:
            _say_how_to_stop(service, console)
    console.print(f"Done in {time.monotonic() - started:.0f} s.")


def watch(client: ServiceClient, job_id: str, console: Console) -> Json:
    """Show a job's progress until it has succeeded.

    Raises:
        ServiceError: when it failed or was cancelled.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=None, loss="")
        for event in client.follow(job_id):
            data: dict[str, Any] = event["data"]
            if event["type"] == "metric":
                # Events say which step it is; how many there will be, the job knows.
                total = bar.tasks[task].total or _total_steps(client.get_job(job_id))
                bar.update(task, completed=data["step"], total=total, loss=f"loss {data['loss']:.4f}")
            elif event["type"] in {"state", "phase"}:
                bar.update(task, description=data.get("phase") or data["state"])
    job = client.get_job(job_id)
    if job["state"] != "succeeded":
        raise ServiceError(job["error"]["message"] if job["error"] else f"the job was {job['state']}")
    return job


def _total_steps(job: Json) -> int | None:
    """None between two phases, and while another attempt begins."""
    progress = job["progress"] or {}
    return progress.get("total_steps")


def make_table(job: Json) -> Table:
    """Teacher against student, from a job's result."""
    table = Table(title=f"recipe {job['recipe']}, r = {job['r']}, k = {job['k']}, teacher {TEACHER}")
    table.add_column("")
    for title in ("teacher", "student", "student / teacher"):
        table.add_column(title, justify="right")
    result = job["result"]
    teacher = result["teacher"] | {"depth": job["teacher"]["depth"]}
    student = result["student"] | {"depth": len(result["blocks"])}
    for row in ROWS:
        before, after = teacher.get(row.key), student.get(row.key)
        if before is None or after is None:
            raise ServiceError(f"the job's result has no {row.key}")
        change = f"{after / before:.0%}" if row.is_cost else f"{100 * (after - before):+.1f} points"
        table.add_row(row.title, row.write(before), row.write(after), change)
    return table


def fetch_student(client: ServiceClient, job_id: str, folder: Path) -> Path:
    """Download and unpack the student, in place of an earlier demo's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.with_suffix(".zip")
    client.download(job_id, "student.zip", archive)
    with zipfile.ZipFile(archive) as members:
        # The archive's own top folder is ``student``.
        members.extractall(folder.parent)
    return folder


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
