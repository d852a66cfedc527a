"""Why an upload or a job cannot be used: one tree; each class knows its stable code and its sentence."""


class WorkerError(Exception):
    """Root of what the worker tells the user.

    Attributes:
        code: stable, for programs.
        param: the field of the request that is to blame, if one is.
        retryable: whether the same work may succeed when tried again.
    """

    code = "worker_error"
    param: str | None = None
    retryable = False


class UploadError(WorkerError):
    """The uploaded files cannot become a dataset."""

    code = "upload_refused"


class PartDamaged(UploadError):
    """What lies in the store is not the part that was announced."""

    code = "part_damaged"

    def __init__(self, filename: str, sha256: str) -> None:
        super().__init__(f"{filename} is not what was announced (sha256 {sha256}); upload it again.")
        self.filename, self.sha256 = filename, sha256


class ArchiveUnsafe(UploadError):
    """An archive holds an entry that would leave its folder or that is no plain file."""

    code = "archive_unsafe"

    def __init__(self, archive: str, entry: str, reason: str) -> None:
        super().__init__(f"{archive} was refused: its entry {entry!r} {reason}.")
        self.archive, self.entry, self.reason = archive, entry, reason


class ArchiveTooLarge(UploadError):
    """An archive unpacks to more than is allowed, counted while reading."""

    code = "archive_too_large"

    def __init__(self, archive: str, reason: str) -> None:
        super().__init__(f"{archive} was refused: it {reason}.")
        self.archive, self.reason = archive, reason


class ArchiveBroken(UploadError):
    """An archive cannot be read to its end."""

    code = "archive_broken"

    def __init__(self, archive: str, reason: str) -> None:
        super().__init__(f"{archive} cannot be read to its end: {reason}.")
        self.archive, self.reason = archive, reason


class TooManyImages(UploadError):
    """More images than a dataset may hold."""

    code = "too_many_images"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The upload holds more than {limit:,} images, the most that it may have here.")
        self.limit = limit


class NoImages(UploadError):
    """Nothing in the upload is a usable image."""

    code = "no_images"

    def __init__(self, skipped: int, example: str | None) -> None:
        detail = f" {skipped} files were left out, for example: {example}" if example else ""
        super().__init__(f"The upload holds no usable image.{detail}")
        self.skipped = skipped


class TooManyBadFiles(UploadError):
    """So many files are unusable that the upload is probably not what its owner meant."""

    code = "too_many_bad_files"

    def __init__(self, skipped: int, images: int, example: str) -> None:
        total = skipped + images
        super().__init__(f"{skipped} of {total} files cannot be used, more than half. The first: {example}")
        self.skipped, self.images = skipped, images


class LabelsMissing(WorkerError):
    """A probe's dataset does not say which image shows what."""

    code = "labels_required"
    param = "probe"

    def __init__(self, dataset_id: str, reason: str) -> None:
        super().__init__(f"The dataset {dataset_id} cannot be a probe: {reason}.")
        self.dataset_id, self.reason = dataset_id, reason


class StoredObjectDamaged(WorkerError):
    """A stored object is not the one that was stored."""

    code = "stored_object_damaged"
    retryable = True

    def __init__(self, key: str) -> None:
        super().__init__(f"The stored object {key} does not have the bytes that were stored.")
        self.key = key
