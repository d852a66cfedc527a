"""The pipeline with the real engine, in this process: what it reports for good and for bad input."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import worker.pipeline
from core.catalogue import ResolvedTeacher
from core.options import JobOptions
from core.settings import Settings
from core.storage import Storage
from samples.digits import write_digits
from wecolora.errors import OutOfMemory
from worker.fetch import Inputs
from worker.protocol import (
    CheckpointRef,
    DatasetRef,
    ErrorMessage,
    JobSpec,
    LogMessage,
    PhaseMessage,
    ResultMessage,
)
from worker.trainer import distil

TEACHER = ResolvedTeacher(
    name="sample-digits",
    kind="bundled",
    source="samples/digits_teacher",
    architecture="vit",
    image_size=32,
    depth=12,
    embed_dim=64,
)


class Recorder:
    """The worker's end, which writes down what it hears."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.stop_requested = False

    def send(self, message: Any) -> None:
        self.messages.append(message)

    @contextmanager
    def deferring_stop(self) -> Iterator[None]:
        yield

    def all(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    unlabelled = write_digits(folder).unlabelled
    for path in sorted(unlabelled.iterdir())[24:]:
        path.unlink()
    return unlabelled


@pytest.fixture
def run(tmp_path: Path, images: Path):
    storage = Storage.from_settings(Settings(data_dir=tmp_path))

    def run(checkpoint: CheckpointRef | None = None, **options: Any) -> Recorder:
        spec = JobSpec(
            job_id="job_1",
            attempt=1,
            teacher=TEACHER,
            teacher_sha256=None,
            options=JobOptions(**{"r": 3, "k": 2, "epochs": 1, "batch_size": 8} | options),
            dataset=DatasetRef(id="ds_1", report_key="r"),
            probe=None,
            checkpoint=checkpoint,
            scratch=tmp_path / "scratch",
            cache=tmp_path / "cache",
            checkpoint_seconds=60,
        )
        recorder = Recorder()
        source = str(Path(__file__).resolve().parents[2] / TEACHER.source)
        distil(recorder, spec, Inputs(source, images, None), storage)
        return recorder

    return run


def test_a_job_without_a_probe_leaves_the_accuracies_open(run) -> None:
    recorder = run()
    (result,) = recorder.all(ResultMessage)
    assert result.result["teacher"]["probe_accuracy"] is None
    assert result.result["student"]["probe_accuracy"] is None
    assert (result.result["blocks"], result.result["steps"]) == ([2, 5, 8, 11], 3)
    phases = [message.phase.value for message in recorder.all(PhaseMessage)]
    assert phases == ["distilling", "merging", "exporting", "publishing"]
    assert all(artifact.key.startswith("jobs/job_1/attempts/1/") for artifact in result.artifacts)


def test_a_device_that_is_not_there_is_the_user_s_to_mend(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # also on a machine that has it
    (error,) = run(device="cuda").all(ErrorMessage)
    assert (error.code, error.param, error.is_final, error.retryable) == (
        "device_unavailable",
        "device",
        True,
        False,
    )


def test_a_checkpoint_that_is_gone_costs_a_warning_and_a_fresh_start(run) -> None:
    recorder = run(checkpoint=CheckpointRef(key="jobs/job_1/checkpoints/0/5", sha256="0" * 64, step=5))
    assert "starting anew" in recorder.all(LogMessage)[0].message
    assert recorder.all(ResultMessage)


def test_out_of_memory_is_tried_once_more_with_half_the_batch(run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int | None, int]] = []
    real = worker.pipeline.distill

    def short_of_memory(*args: Any, config: Any, **rest: Any) -> Any:
        seen.append((config.batch_size, config.accumulate))
        if config.batch_size > 4:
            raise OutOfMemory("cuda", config.batch_size)
        return real(*args, config=config, **rest)

    monkeypatch.setattr(worker.pipeline, "distill", short_of_memory)
    recorder = run()
    assert seen == [(8, 1), (4, 2)]
    assert "trying 4" in recorder.all(LogMessage)[0].message
    assert recorder.all(ResultMessage)

    seen.clear()
    (error,) = run(batch_size=64).all(ErrorMessage)
    assert (error.code, error.is_final) == ("out_of_memory", True)
    assert len(seen) == 2
