"""The list of all files that an ingest left out: one JSON object a line, in the order of the upload.

It is an object of its own beside the dataset's report, so that it may be as long as it has to be, and a page of it is
read from where the page before ended.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

LEFT_OUT_NAME: Final = "left-out.jsonl"


class LeftOutKind(StrEnum):
    """Why a file is not in the dataset."""

    SKIPPED = "skipped"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class LeftOutFile:
    """A file that was left out, by its path in the upload."""

    kind: LeftOutKind
    path: str
    reason: str

    def to_line(self) -> str:
        """Its line of the list, with the line's end."""
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False) + "\n"

    @classmethod
    def of_line(cls, line: bytes) -> "LeftOutFile":
        """The file of a line."""
        value = json.loads(line)
        return cls(LeftOutKind(value["kind"]), value["path"], value["reason"])


def left_out_key(report_key: str) -> str:
    """The key of the list beside a dataset's report."""
    return f"{report_key.rpartition('/')[0]}/{LEFT_OUT_NAME}"
