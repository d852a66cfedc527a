"""The files that an ingest left out: searched, a page at a time, or all of them as CSV."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

from api.datasets.schemas import LeftOutList, LeftOutOut
from api.resources import Resources
from core.errors import FieldProblem, InvalidFields, NotFound
from core.left_out import LeftOutFile, LeftOutKind, left_out_key
from core.principals import Principal
from core.queries import datasets as queries
from core.storage import Storage

CSV_COLUMNS = ("kind", "path", "reason")
_ROWS_A_CHUNK = 1000


@dataclass(frozen=True)
class LeftOutQuery:
    """Which files; None and no words: all.

    Attributes:
        kind: why they were left out.
        words: each is in the path or the reason, in any case of its letters.
        start: the byte of the list at which to begin, an end of a line.
        limit: how many at most.
    """

    kind: LeftOutKind | None
    words: tuple[str, ...]
    start: int
    limit: int

    def fits(self, file: LeftOutFile) -> bool:
        """Whether this is one of them."""
        text = f"{file.path} {file.reason}".casefold()
        return self.kind in (None, file.kind) and all(word in text for word in self.words)


def find(resources: Resources, principal: Principal, dataset_id: str, wanted: LeftOutQuery) -> LeftOutList:
    """One page of what fits, in the order of the upload.

    Raises:
        NotFound: there is no such dataset in sight, or its ingest has not ended well.
        InvalidFields: the cursor is none of this list.
    """
    report_key = _report_key(resources, principal, dataset_id)
    rows: list[LeftOutOut] = []
    for begin, file in _read(resources.storage, report_key, wanted.start):
        if not wanted.fits(file):
            continue
        if len(rows) == wanted.limit:
            return LeftOutList(data=rows, has_more=True, next_cursor=str(begin))
        rows.append(LeftOutOut.model_validate(file))
    return LeftOutList(data=rows, has_more=False, next_cursor=None)


def write_csv(resources: Resources, principal: Principal, dataset_id: str) -> Iterator[str]:
    """Every file as CSV (RFC 4180), in chunks.

    Raises:
        NotFound: there is no such dataset in sight, or its ingest has not ended well.
    """
    return _csv(resources.storage, _report_key(resources, principal, dataset_id))


def _report_key(resources: Resources, principal: Principal, dataset_id: str) -> str:
    with resources.database.read() as session:
        key = queries.get_dataset(session, dataset_id, principal).report_key
    if key is None:
        raise NotFound("list of files left out of dataset", dataset_id)
    return key


def _csv(storage: Storage, report_key: str) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    for number, (_, file) in enumerate(_read(storage, report_key, 0), 1):
        writer.writerow((file.kind, _not_a_formula(file.path), _not_a_formula(file.reason)))
        if number % _ROWS_A_CHUNK == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _not_a_formula(text: str) -> str:
    """Spreadsheets run what begins like a formula: an apostrophe before it makes it words."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _read(storage: Storage, report_key: str, start: int) -> Iterator[tuple[int, LeftOutFile]]:
    """Each file of the list from a byte on, with the byte at which its line begins."""
    rest, begin = b"", start
    for chunk in _chunks(storage, report_key, start):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield begin, LeftOutFile.of_line(line)
            begin += len(line) + 1


def _chunks(storage: Storage, report_key: str, start: int) -> Iterator[bytes]:
    key = left_out_key(report_key)
    if storage.exists(key):
        if start == 0:
            yield from storage.iter_bytes(key)
            return
        chunks = storage.iter_bytes(key, start - 1) if start < storage.size_bytes(key) else iter(())
    else:
        # Ingested before there was such a list: the report names the first thousand of each kind.
        lines = _lines_of_report(storage.get_bytes(report_key))
        if start == 0:
            yield lines
            return
        chunks = iter([lines[start - 1 :]])
    # A page begins where a line does.
    first = next(chunks, b"")
    if not first.startswith(b"\n"):
        raise InvalidFields(
            FieldProblem("cursor", "is none of this list", "`next_cursor` of a page", str(start))
        )
    yield first[1:]
    yield from chunks


def _lines_of_report(report: bytes) -> bytes:
    named = json.loads(report)
    files = [
        LeftOutFile(kind, file["path"], file["reason"])
        for kind, name in ((LeftOutKind.SKIPPED, "skipped"), (LeftOutKind.DUPLICATE, "duplicates"))
        for file in named[name]
    ]
    return "".join(file.to_line() for file in files).encode()
