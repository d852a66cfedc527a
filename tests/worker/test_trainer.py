"""The pipeline with the real engine, in this process: what it reports for good and for bad input."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import worker.pipeline
from core.catalogue import ResolvedTeacher
from core.options import JobOptions
from core.settings import Settings
from core.storage import Storage
from core.workload import count_work
from samples.digits import write_digits
from wecolora.errors import OutOfMemory
from worker.fetch import Inputs
from worker.patience import PatientStorage
from worker.protocol import (
    CheckpointMessage,
    CheckpointRef,
    DatasetRef,
    ErrorMessage,
    JobSpec,
    LogMessage,
    PhaseMessage,
    ProgressMessage,
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
def objects(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.from_settings(Settings(data_dir=tmp_path))


@pytest.fixture
def run(tmp_path: Path, images: Path, storage: Storage):

    def run(
        checkpoints: Sequence[CheckpointRef] = (),
        checkpoint_seconds: float = 60,
        beyond: dict[str, Any] | None = None,
        **options: Any,
    ) -> Recorder:
        spec = JobSpec(
            job_id="job_1",
            attempt=1,
            teacher=TEACHER,
            teacher_sha256=None,
            options=JobOptions(**{"r": 3, "k": 2, "epochs": 1, "batch_size": 8} | options).model_copy(
                update=beyond
            ),
            dataset=DatasetRef(id="ds_1", report_key="r"),
            probe=None,
            checkpoints=list(checkpoints),
            scratch=tmp_path / "scratch",
            cache=tmp_path / "cache",
            cache_bytes=1 << 30,
            checkpoint_seconds=checkpoint_seconds,
        )
        recorder = Recorder()
        source = str(Path(__file__).resolve().parents[2] / TEACHER.source)
        distil(recorder, spec, Inputs(source, images, None), PatientStorage(storage, 5, recorder))
        return recorder

    return run


def test_a_job_without_a_probe_leaves_the_accuracies_open(run) -> None:
    recorder = run()
    (result,) = recorder.all(ResultMessage)
    assert result.result["teacher"]["probe_accuracy"] is None
    assert result.result["student"]["probe_accuracy"] is None
    assert (result.result["method"], result.result["recipe"], result.result["steps"]) == (
        "wecolora",
        "best",
        3,
    )
    assert result.result["load"] == 'timm.create_model("local-dir:student", pretrained=True)'
    # What estimates of other jobs are made from.
    costs = [result.result[name]["gmacs"] for name in ("teacher", "student")]
    assert result.result["work_gmacs"] == count_work(JobOptions(epochs=1), 24, *costs, kept=1) > 0
    assert result.result["images"] == 24
    assert (result.result["device"], bool(result.result["device_name"])) == ("cpu", True)
    assert len(result.result["refit"]) == len(result.result["blocks"]) == 4
    phases = [message.phase.value for message in recorder.all(PhaseMessage)]
    assert phases == ["preparing", "distilling", "merging", "exporting", "publishing"]
    assert all(artifact.key.startswith("jobs/job_1/attempts/1/") for artifact in result.artifacts)


def test_the_papers_recipe_copies_the_last_block_of_every_group(run) -> None:
    (result,) = run(recipe="paper").all(ResultMessage)
    assert (result.result["recipe"], result.result["blocks"]) == ("paper", [2, 5, 8, 11])
    assert result.result["changed"] == ["epochs"]
    assert result.result["refit"] == []


def test_preparing_tells_how_far_it_is_and_is_no_training(run) -> None:
    recorder = run(recipe="instant", epochs=None)
    (result,) = recorder.all(ResultMessage)
    assert (result.result["steps"], result.result["initial_loss"], result.result["final_loss"]) == (
        0,
        None,
        None,
    )
    phases = [message.phase.value for message in recorder.all(PhaseMessage)]
    assert phases == ["preparing", "merging", "exporting", "publishing"]
    told = [message.progress for message in recorder.all(ProgressMessage)]
    assert not any(message.is_metric for message in recorder.all(ProgressMessage))
    ends = {each["activity"]: (each["step"], each["total_steps"]) for each in told}
    assert ends == {"loading": (24, 24), "preparing": (4, 4)}
    assert "adapter.safetensors" in {artifact.name for artifact in result.artifacts}


@pytest.mark.parametrize("method", ["weco-kd", "kd", "weco"])
def test_methods_without_adapters_deliver_none(run, method: str) -> None:
    (result,) = run(method=method).all(ResultMessage)
    names = {artifact.name for artifact in result.artifacts}
    assert names == {
        "student.safetensors",
        "config.json",
        "student.zip",
        "metrics.jsonl",
        "report.json",
        "report.html",
        "pictures.zip",
        "attention.json",
        "attention.jpg",
    }
    assert result.result["method"] == method


def test_a_student_that_timm_cannot_build_is_delivered_whole_with_the_line_that_loads_it(run) -> None:
    (result,) = run(method="minivit").all(ResultMessage)
    assert result.result["load"] == 'wecolora.load_student("student")'
    assert {"student.zip", "student.safetensors", "config.json"} <= {each.name for each in result.artifacts}


def test_a_loss_that_is_no_number_names_the_checkpoint_of_the_job_not_a_file(run) -> None:
    # Beyond what the service lets through: every step multiplies the weights by 1 - lr * weight_decay.
    recorder = run(
        method="weco-kd",
        lr=1,
        warmup_epochs=0,
        epochs=100,
        beyond={"weight_decay": 10.0},
        checkpoint_seconds=0,
    )
    (error,) = recorder.all(ErrorMessage)
    assert (error.code, error.param, error.is_final, error.retryable) == (
        "non_finite_loss",
        "lr",
        True,
        False,
    )
    step = recorder.all(CheckpointMessage)[-1].checkpoint.step
    assert f"The last good checkpoint is that of step {step}, which is kept with the job." in error.message
    assert "scratch" not in error.message


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
    gone = CheckpointRef(key="jobs/job_1/checkpoints/0/5", sha256="0" * 64, step=5)
    recorder = run(checkpoints=[gone])
    told = [message.message for message in recorder.all(LogMessage)]
    assert told[:2] == [
        "The checkpoint of step 5 is gone or damaged.",
        "No checkpoint is left; starting anew.",
    ]
    assert recorder.all(ResultMessage)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    run, storage: Storage, tmp_path: Path
) -> None:
    whole = run(checkpoint_seconds=0, epochs=2)
    kept = whole.all(CheckpointMessage)[-1]
    storage.put_bytes(kept.checkpoint.key, storage.get_bytes(kept.checkpoint.key)[:-100])
    shutil.rmtree(tmp_path / "scratch")
    resumed = run(checkpoints=[kept.checkpoint, kept.previous], epochs=2)
    assert [message.message for message in resumed.all(LogMessage)][:2] == [
        f"The checkpoint of step {kept.checkpoint.step} is gone or damaged.",
        f"Resuming from step {kept.previous.step}.",
    ]
    weights = [
        {artifact.name: artifact.sha256 for artifact in recorder.all(ResultMessage)[0].artifacts}[
            "student.safetensors"
        ]
        for recorder in (whole, resumed)
    ]
    assert weights[0] == weights[1]


def test_a_store_that_takes_no_checkpoint_costs_none_of_the_training(run, objects: Path) -> None:
    (objects / "jobs" / "job_1").mkdir(parents=True)
    (objects / "jobs" / "job_1" / "checkpoints").write_text("a file in the way of the folder")
    recorder = run(checkpoint_seconds=0)
    assert not recorder.all(CheckpointMessage)
    assert "The checkpoint of step 1 could not be stored" in recorder.all(LogMessage)[0].message
    assert recorder.all(ResultMessage)


def test_a_store_that_is_away_at_the_end_is_waited_for(
    run, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = objects / "jobs" / "job_1" / "attempts"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file in the way of the folder")
    comes_back = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: in_the_way.unlink())
    monkeypatch.setattr("worker.patience.time", comes_back)
    recorder = run()
    told = [message.message for message in recorder.all(LogMessage)]
    assert recorder.all(ResultMessage), recorder.all(ErrorMessage)
    assert "waiting for it" in told[-2]
    assert told[-1] == "The object store answers again."


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
