"""Files that arrive whole or not at all."""

import hashlib
from pathlib import Path

from wecolora_client.errors import DamagedDownload
from wecolora_client.models import Artifact
from wecolora_client.transport import Transport


def download_file(transport: Transport, path: str, artifact: Artifact, target: Path) -> Path:
    """Fetch a file beside `target` and move it into place once its digest is right.

    Args:
        transport: to the service.
        path: of the URL.
        artifact: what the service says of the file.
        target: file to write.

    Raises:
        DamagedDownload: the digest is wrong.
        ServiceError, Unreachable: see `Transport.retry`.
    """
    partial = target.with_name(f".{target.name}.{artifact.sha256[:16]}.part")
    transport.retry(lambda: _fetch_rest(transport, path, artifact, partial))
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != artifact.sha256:
        partial.unlink()
        raise DamagedDownload(artifact.name)
    return partial.replace(target)


def _fetch_rest(transport: Transport, path: str, artifact: Artifact, partial: Path) -> None:
    there = partial.stat().st_size if partial.exists() else 0
    if there == artifact.size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": f'"{artifact.sha256}"'}
    with (
        transport.stream("GET", path, headers=headers) as response,
        partial.open("ab" if response.status_code == 206 else "wb") as file,
    ):
        for chunk in response.iter_raw():
            file.write(chunk)
