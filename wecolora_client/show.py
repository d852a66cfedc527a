"""What a terminal shows: progress of an upload and of a job, and teacher beside student."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from wecolora_client.client import Client
from wecolora_client.errors import ClientError
from wecolora_client.models import DryRun, Event, Job
from wecolora_client.uploads import UploadProgress


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


@contextmanager
def upload_bar(console: Console, description: str) -> Iterator[Callable[[UploadProgress], None]]:
    """A bar for `Client.upload`'s `on_progress`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=None)
        yield lambda progress: bar.update(
            task, completed=progress.bytes_done, total=max(progress.size_bytes, 1)
        )


def watch(client: Client, job_id: str, console: Console) -> Job:
    """Show a job's progress until it has succeeded.

    Raises:
        JobFailed: it failed or was cancelled.
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

        def show(event: Event) -> None:
            if event.type == "metric":
                # Events say which step it is; how many there will be, the job knows.
                total = bar.tasks[task].total or (client.get_job(job_id).progress or {}).get("total_steps")
                loss = f"loss {event.data['loss']:.4f}"
                bar.update(task, completed=event.data["step"], total=total, loss=loss)
            elif event.type in {"state", "phase"}:
                bar.update(task, description=event.data.get("phase") or event.data["state"])
            elif event.type == "log":
                console.print(
                    event.message, markup=False, style="yellow" if event.level == "warning" else None
                )

        return client.wait_for_job(job_id, show)


def describe(plan: DryRun) -> str:
    """What the student will be, in a line."""
    teacher, student = plan.teacher_network, plan.student_network
    parts = [f"{teacher.depth} → {student.depth} blocks"]
    if teacher.parameters is not None and student.parameters is not None:
        parts.append(f"{teacher.parameters / 1e6:.1f} → {student.parameters / 1e6:.1f} M parameters")
    if teacher.gmacs is not None and student.gmacs is not None:
        parts.append(f"{teacher.gmacs:.2f} → {student.gmacs:.2f} GMACs")
    return ", ".join(parts)


def make_table(job: Job) -> Table:
    """Teacher against student, from a job's result."""
    table = Table(title=f"recipe {job.recipe}, r = {job.r}, k = {job.k}, teacher {job.teacher['name']}")
    table.add_column("")
    for title in ("teacher", "student", "student / teacher"):
        table.add_column(title, justify="right")
    result: Mapping[str, Any] = job.result or {}
    try:
        teacher = result["teacher"] | {"depth": job.teacher["depth"]}
        student = result["student"] | {"depth": len(result["blocks"])}
        for row in ROWS:
            before, after = teacher[row.key], student[row.key]
            if before is None and after is None:  # no probe
                continue
            change = f"{after / before:.0%}" if row.is_cost else f"{100 * (after - before):+.1f} points"
            table.add_row(row.title, row.write(before), row.write(after), change)
    except KeyError as error:
        raise ClientError(f"the job's result has no {error.args[0]}") from error
    return table
