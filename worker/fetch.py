"""Bring a job's inputs to the local disk: datasets, the teacher, the checkpoint. All are verified by hash.

Datasets and uploaded teachers are kept for the machine's next jobs (`worker.cache`).
"""

import re
import shutil
import tarfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.catalogue import ResolvedTeacher
from core.errors import ObjectMissing
from core.storage import Storage
from worker.cache import Cache
from worker.child import ROOT
from worker.dataset import INDEX_NAME, IndexEntry, Report, read_index
from worker.errors import LabelsMissing, StoredObjectDamaged
from worker.protocol import CheckpointRef, DatasetRef, JobSpec

IMAGES, PROBES, TEACHERS = "images", "probes", "teachers"
_IMAGE_NAME = re.compile(r"\d{8}\.(jpg|png)")


@dataclass(frozen=True)
class Probe:
    """Labelled images on the local disk, in numbered class folders.

    Attributes:
        train: folder of the training images.
        test: of the test images; None where they are to be split off.
        classes: the owner's names of the classes, by number.
    """

    train: Path
    test: Path | None
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """What a job works on, on the local disk.

    Attributes:
        teacher_source: timm name, folder, or file.
        images: folder of the unlabelled images.
        probe: the labelled images, where the job is probed.
    """

    teacher_source: str
    images: Path
    probe: Probe | None


def fetch_inputs(storage: Storage, spec: JobSpec, cache: Cache) -> Inputs:
    """Bring everything but the checkpoint."""
    # The probe first: labels that do not fit should not cost an hour of training.
    probe = fetch_probe(storage, spec.probe, cache) if spec.probe else None
    teacher = fetch_teacher(storage, spec.teacher, spec.teacher_sha256, cache)
    return Inputs(teacher, fetch_images(storage, spec.dataset, cache), probe)


def fetch_images(storage: Storage, dataset: DatasetRef, cache: Cache) -> Path:
    """All images of a dataset in one folder."""

    def place(entry: IndexEntry) -> Path:
        return Path(entry.name)

    return cache.get(IMAGES, dataset.id, lambda folder: _unpack(storage, dataset, folder, place))


def fetch_probe(storage: Storage, dataset: DatasetRef, cache: Cache) -> Probe:
    """The labelled images of a probe as class folders; without a test split, all are training images.

    Raises:
        LabelsMissing: when its images lie in no class folders, or a test class is not trained on.
    """
    report = _read_report(storage, dataset)
    classes = tuple(_check_labels(dataset, report))
    numbers = {name: f"{number:05d}" for number, name in enumerate(classes)}

    def place(entry: IndexEntry) -> Path:
        # Folders are numbered: a class's name is its owner's and may mean anything to a file system.
        return Path(entry.split or "all", numbers[entry.class_name or ""], entry.name)

    folder = cache.get(PROBES, dataset.id, lambda to: _unpack(storage, dataset, to, place))
    if report.splits is None:
        return Probe(folder / "all", None, classes)
    train, test = folder / "train", folder / ("test" if "test" in report.splits else "val")
    unknown = {path.name for path in test.iterdir()} - {path.name for path in train.iterdir()}
    if unknown:
        name = classes[int(min(unknown))]
        raise LabelsMissing(dataset.id, f"its test part has a class {name!r} that the training part lacks")
    return Probe(train, test, classes)


def fetch_teacher(storage: Storage, teacher: ResolvedTeacher, sha256: str | None, cache: Cache) -> str:
    """The engine's source for a teacher: a timm name, or a path."""
    if teacher.kind == "timm":
        return teacher.source
    if teacher.kind == "bundled":
        return str(ROOT / teacher.source)
    assert sha256 is not None
    name = f"{sha256}.safetensors"
    return str(cache.get(TEACHERS, name, lambda file: _download(storage, teacher.source, sha256, file)))


def fetch_checkpoint(storage: Storage, checkpoint: CheckpointRef, target: Path) -> bool:
    """Bring a checkpoint; False when it is gone or torn, and the job has to start anew."""
    try:
        _download(storage, checkpoint.key, checkpoint.sha256, target)
    except (ObjectMissing, StoredObjectDamaged):
        return False
    return True


def _check_labels(dataset: DatasetRef, report: Report) -> list[str]:
    if not report.class_names:
        raise LabelsMissing(
            dataset.id, "its images do not lie in class folders (CLASS/image.jpg), two or more"
        )
    if report.splits is not None and "train" not in report.splits:
        raise LabelsMissing(dataset.id, "it has no training part (train/CLASS/image.jpg)")
    return report.class_names


def _read_report(storage: Storage, dataset: DatasetRef) -> Report:
    return Report.model_validate_json(storage.get_bytes(dataset.report_key))


def _unpack(storage: Storage, dataset: DatasetRef, folder: Path, place: Callable[[IndexEntry], Path]) -> None:
    folder.mkdir()
    report = _read_report(storage, dataset)
    prefix = dataset.report_key.rsplit("/", 1)[0]
    index = folder / INDEX_NAME
    storage.download(f"{prefix}/{INDEX_NAME}", index)
    entries = {(entry.shard, entry.name): entry for entry in read_index(index)}
    shard_file = folder / "shard.tar"
    for shard in report.shards:
        _download(storage, f"{prefix}/{shard.name}", shard.sha256, shard_file)
        with tarfile.open(shard_file, "r:") as tar:
            for info in tar:
                stream = tar.extractfile(info)
                if stream is None or not _IMAGE_NAME.fullmatch(info.name):
                    raise StoredObjectDamaged(f"{prefix}/{shard.name}")
                target = folder / place(entries[shard.name, info.name])
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(stream, file)
    shard_file.unlink(missing_ok=True)
    index.unlink()


def _download(storage: Storage, key: str, sha256: str, target: Path) -> None:
    """Fetch an object; it takes its name only when its bytes are the expected ones."""
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        stored = storage.download(key, draft)
        if stored.sha256 != sha256:
            raise StoredObjectDamaged(key)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
