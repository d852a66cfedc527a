"""``wecolora-client``: a service from the command line.

Exit codes: 0; 1 what the service is at fault for; 2 what the caller is; 130 stopped.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import stamina
import typer
from rich.console import Console

from wecolora_client.client import Client
from wecolora_client.errors import ClientError, DatasetFailed, NothingToUpload, ServiceError
from wecolora_client.models import Job
from wecolora_client.show import describe, make_table, upload_bar, watch

app = typer.Typer(no_args_is_help=True, add_completion=False)
_shown = Console()
_messages = Console(stderr=True)

Url = Annotated[str, typer.Option(envvar="WECOLORA_URL", help="Where the service answers.")]
Key = Annotated[
    str | None, typer.Option(envvar="WECOLORA_KEY", help="API key; better in the variable than here.")
]
JobId = Annotated[str, typer.Argument(help="Id of a job.")]
Patience = Annotated[float, typer.Option(help="Seconds that the service may be away.")]
_HERE = "http://127.0.0.1:8000"


@app.callback()
def begin() -> None:
    """Distil with a WeCoLoRA service."""
    # What is tried again is otherwise logged on the screen, where the progress bars and the answers are.
    stamina.instrumentation.set_on_retry_hooks([])


@app.command()
def run(
    images: Annotated[Path, typer.Argument(help="Folder, archive or image.")],
    teacher: Annotated[str, typer.Option(help="A name or id of GET /teachers.")],
    out: Annotated[Path, typer.Option(help="Folder for the student; must not exist.")],
    r: Annotated[int, typer.Option(help="Keep one block of r.")] = 2,
    k: Annotated[int | None, typer.Option(help="Rank of the adapters.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the job.")] = None,
    probe: Annotated[Path | None, typer.Option(help="Labelled images, to compare both on.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="Any other option: --set recipe=paper --set epochs=5.")
    ] = None,
    url: Url = _HERE,
    key: Key = None,
    patience: Patience = 60,
) -> None:
    """Upload images, distil, and download the student."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _fail(f"{out} exists and is not empty; name another folder with --out", 2)
    request: dict[str, Any] = {"teacher": teacher, "r": r, "k": k, "name": name, **_options(option or [])}
    with _errors_become_exit_codes(), Client(url, key, patience_seconds=patience) as client:
        _messages.print(describe(client.dry_run(**request)))
        request["dataset_id"] = _upload(client, images, None, None)
        if probe is not None:
            request["probe"] = {"dataset_id": _upload(client, probe, None, None)}
        job = client.create_job(**request)
        _messages.print(f"Job {job.id}")
        _finish(client, job.id, out)


@app.command()
def upload(
    path: Annotated[Path, typer.Argument(help="Folder, archive or image.")],
    name: Annotated[str | None, typer.Option(help="Of the dataset.")] = None,
    into: Annotated[str | None, typer.Option(help="Go on with an upload that was broken off.")] = None,
    url: Url = _HERE,
    key: Key = None,
    patience: Patience = 60,
) -> None:
    """Upload images and print the dataset's id."""
    with _errors_become_exit_codes(), Client(url, key, patience_seconds=patience) as client:
        dataset = client.wait_for_dataset(_upload(client, path, name, into))
        _messages.print(f"{dataset.image_count} images, {dataset.skipped_count} files skipped")
        _shown.print(dataset.id)


@app.command(name="watch")
def watch_job(
    job: JobId,
    out: Annotated[Path | None, typer.Option(help="Download the student to this folder.")] = None,
    url: Url = _HERE,
    key: Key = None,
    patience: Patience = 60,
) -> None:
    """Follow a job to its end."""
    with _errors_become_exit_codes(), Client(url, key, patience_seconds=patience) as client:
        _finish(client, job, out)


@app.command()
def download(
    job: JobId,
    files: Annotated[list[str] | None, typer.Argument(help="All of the job's files unless named.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    url: Url = _HERE,
    key: Key = None,
    patience: Patience = 60,
) -> None:
    """Download files of a job."""
    with _errors_become_exit_codes(), Client(url, key, patience_seconds=patience) as client:
        out.mkdir(parents=True, exist_ok=True)
        for name in files or [each.name for each in client.list_artifacts(job)]:
            _shown.print(str(client.download(job, name, out / name)), markup=False, highlight=False)


@app.command()
def cancel(job: JobId, url: Url = _HERE, key: Key = None, patience: Patience = 60) -> None:
    """Ask for a job's end."""
    with _errors_become_exit_codes(), Client(url, key, patience_seconds=patience) as client:
        _shown.print(client.cancel(job).state)


@app.command()
def retry(job: JobId, url: Url = _HERE, key: Key = None, patience: Patience = 60) -> None:
    """Let a job that failed or was cancelled go on from its last checkpoint."""
    with _errors_become_exit_codes(), Client(url, key, patience_seconds=patience) as client:
        _shown.print(client.retry(job).state)


def _upload(client: Client, path: Path, name: str | None, into: str | None) -> str:
    begun: list[str] = []
    try:
        with upload_bar(_messages, path.name or str(path)) as on_progress:
            return client.upload(path, name, into=into, on_progress=on_progress, on_created=begun.append)
    except (ClientError, KeyboardInterrupt):
        if begun:
            _messages.print(f"What has arrived is kept: wecolora-client upload {path} --into {begun[0]}")
        raise


def _finish(client: Client, job_id: str, out: Path | None) -> None:
    try:
        job: Job = watch(client, job_id, _messages)
    except KeyboardInterrupt:
        _messages.print(
            f"The job goes on without you. See it: wecolora-client watch {job_id}; "
            f"end it: wecolora-client cancel {job_id}"
        )
        raise
    _shown.print(make_table(job))
    if out is not None:
        folder = client.download_student(job_id, out)
        line = (job.load or "").replace("local-dir:student", f"local-dir:{folder}")
        _shown.print(line, markup=False, highlight=False, soft_wrap=True)


def _options(given: list[str]) -> dict[str, Any]:
    """Values as JSON where they are, else as text; what they mean is the service's to judge."""
    options: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals:
            _fail(f"--set {each}: write NAME=VALUE", 2)
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


@contextmanager
def _errors_become_exit_codes() -> Iterator[None]:
    try:
        yield
    except (NothingToUpload, DatasetFailed) as error:
        _fail(str(error), 2)
    except ServiceError as error:
        _fail(str(error), 2 if error.problem.status < 500 else 1)
    except ClientError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(message: str, code: int) -> NoReturn:
    _messages.print("[bold red]Error:[/]", end=" ")
    _messages.print(message, markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(code)
