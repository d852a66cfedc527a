"""A baseline JPEG under headers of our own: tables, checked, and scan are its own; all else is dropped.

Encoding again costs more than ingest's other work together, and a little of the picture. Most photographs do without:
what says anything but pixels (metadata, profiles, thumbnails, comments, what comes behind the end) lies outside the
scan. Files that are not of the plain kind taken here are encoded again.

Markers and segments: ITU-T T.81, Annex B; which colours the components have: JFIF 1.02, and Adobe's APP14.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_DQT, _SOF0, _DHT, _DRI, _SOS = 0xDB, 0xC0, 0xC4, 0xDD, 0xDA
_APP0, _APP14 = 0xE0, 0xEE
_DROPPED: Final = frozenset((*range(_APP0, 0xF0), 0xFE))
# Version 1.01, no unit, pixels as wide as high, no thumbnail.
_JFIF: Final = b"JFIF\0\1\1\0\0\1\0\1\0\0"
_LEAST_JFIF, _LEAST_ADOBE = 14, 12
_YCC_OF_ADOBE = 1
_LUMA_SAMPLINGS: Final = frozenset((0x11, 0x21, 0x12, 0x22))
_CHROMA_SAMPLING: Final = 0x11
# Inside a scan 0xFF stands before 0 (it is a byte of the scan) or a restart marker; else the scan has ended.
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")
# Noise at the highest quality takes less; whoever has more has hidden something behind the last block.
_MOST_BYTES_A_PIXEL, _SOME_BYTES = 4, 4096


class _NotPlain(Exception):
    """The file is not of the kind that is taken here; that does not make it a bad one."""


@dataclass
class _Component:
    quantisation: int
    sampling: int
    identifier: int
    huffman: int = 0
    """Number of the table for DC in the upper four bits, of that for AC in the lower."""


@dataclass
class _Headers:
    """What of the segments before the scan says how to read it."""

    quantisation: dict[int, bytes] = field(default_factory=dict)
    huffman: dict[int, bytes] = field(default_factory=dict)
    """By number, plus 16 for AC."""
    components: list[_Component] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    restart_interval: int = 0
    jfif: bool = False
    adobe_transform: int | None = None


def with_our_headers(data: bytes) -> bytes | None:
    """Write a baseline JPEG anew around its scan, which is copied: every pixel stays as it is.

    Taken are 8-bit files with one scan of grey or YCbCr (4:4:4, 4:2:2, 4:4:0, 4:2:0) in Huffman's code. That the scan
    can be decoded is not looked at.

    Args:
        data: a whole file that begins as a JPEG does.

    Returns:
        The file, or None where it is of another kind: progressive, CMYK, RGB, arithmetic coding, 12 bits, several
        scans, tables that are missing or against the standard, or bytes in the scan that are no part of it.
    """
    try:
        headers, scan_at = _read_headers(data)
        return _write(headers, _scan(data, scan_at, headers.size))
    except _NotPlain:
        return None


def _read_headers(data: bytes) -> tuple[_Headers, int]:
    headers = _Headers()
    for marker, payload, end in _segments(data):
        if marker == _SOS:
            _read_scan_header(payload, headers)
            return headers, end
        if marker == _DQT:
            _read_quantisation(payload, headers)
        elif marker == _DHT:
            _read_huffman(payload, headers)
        elif marker == _SOF0:
            _read_frame(payload, headers)
        elif marker == _DRI:
            _require(len(payload) == 2)
            headers.restart_interval = int.from_bytes(payload, "big")
        elif marker == _APP0:
            headers.jfif |= len(payload) >= _LEAST_JFIF and payload.startswith(b"JFIF\0")
        elif marker == _APP14 and len(payload) >= _LEAST_ADOBE and payload.startswith(b"Adobe"):
            headers.adobe_transform = payload[11]
        else:
            _require(marker in _DROPPED)
    raise _NotPlain


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, payload and where the segment ends, until the file does."""
    at = len(_SOI)
    while at + 4 <= len(data):
        _require(data[at] == 0xFF)
        marker = data[at + 1]
        if marker == 0xFF:  # as many as one likes may stand before a marker
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        _require(at + 4 <= end <= len(data))
        yield marker, data[at + 4 : end], end
        at = end


def _read_quantisation(payload: bytes, headers: _Headers) -> None:
    _require(len(payload) % 65 == 0)
    for at in range(0, len(payload), 65):
        number, table = payload[at], payload[at + 1 : at + 65]
        _require(number < 4 and 0 not in table)  # 16 and more: of 16 bits
        headers.quantisation[number] = table


def _read_huffman(payload: bytes, headers: _Headers) -> None:
    at = 0
    while at < len(payload):
        number, end = payload[at], at + 17 + sum(payload[at + 1 : at + 17])
        _require(number in (0, 1, 16, 17) and at + 17 <= end <= min(len(payload), at + 17 + 256))
        headers.huffman[number] = payload[at + 1 : end]
        at = end


def _read_frame(payload: bytes, headers: _Headers) -> None:
    _require(not headers.components and len(payload) in (9, 15))
    precision, height, width, count = struct.unpack_from(">BHHB", payload)
    _require(precision == 8 and height > 0 and width > 0 and len(payload) == 6 + 3 * count)
    headers.size = (width, height)
    for at in range(6, len(payload), 3):
        identifier, sampling, quantisation = payload[at : at + 3]
        headers.components.append(_Component(quantisation, sampling, identifier))
    if count == 1:
        headers.components[0].sampling = 0x11  # alone, it has one block after the other whatever it says
        return
    luma, *chroma = headers.components
    _require(luma.sampling in _LUMA_SAMPLINGS)
    _require(all(component.sampling == _CHROMA_SAMPLING for component in chroma))


def _read_scan_header(payload: bytes, headers: _Headers) -> None:
    count = len(headers.components)
    _require(count > 0 and len(payload) == 4 + 2 * count and payload[0] == count)
    _require(payload[-3:] == b"\x00\x3f\x00")  # all frequencies, all bits
    for number, component in enumerate(headers.components):
        identifier, component.huffman = payload[1 + 2 * number : 3 + 2 * number]
        _require(identifier == component.identifier)
    identifiers = [component.identifier for component in headers.components]
    _require(len(set(identifiers)) == count)
    if count == 3 and not headers.jfif:
        _require(headers.adobe_transform in (None, _YCC_OF_ADOBE))
        _require(headers.adobe_transform is not None or identifiers == [1, 2, 3])


def _scan(data: bytes, start: int, size: tuple[int, int]) -> bytes:
    end = _END_OF_SCAN.search(data, start)
    if end is None or end.group() != _EOI:
        raise _NotPlain
    _require(end.start() - start <= _MOST_BYTES_A_PIXEL * size[0] * size[1] + _SOME_BYTES)
    return data[start : end.start()]


def _write(headers: _Headers, scan: bytes) -> bytes:
    components = headers.components
    quantisation = sorted({component.quantisation for component in components})
    huffman = sorted({n for each in components for n in (each.huffman >> 4, 16 + (each.huffman & 15))})
    _require(headers.quantisation.keys() >= set(quantisation) and headers.huffman.keys() >= set(huffman))
    width, height = headers.size
    frame = [(n, each.sampling, each.quantisation) for n, each in enumerate(components, start=1)]
    tables = [(n, each.huffman) for n, each in enumerate(components, start=1)]
    parts = [
        _SOI,
        _segment(_APP0, _JFIF),
        *(_segment(_DQT, bytes([number]) + headers.quantisation[number]) for number in quantisation),
        _segment(_SOF0, struct.pack(">BHHB", 8, height, width, len(components)), *map(bytes, frame)),
        *(_segment(_DHT, bytes([number]) + headers.huffman[number]) for number in huffman),
    ]
    if headers.restart_interval:
        parts.append(_segment(_DRI, struct.pack(">H", headers.restart_interval)))
    parts.append(_segment(_SOS, bytes([len(components)]), *map(bytes, tables), b"\x00\x3f\x00"))
    return b"".join((*parts, scan, _EOI))


def _segment(marker: int, *payload: bytes) -> bytes:
    content = b"".join(payload)
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def _require(holds: bool) -> None:
    if not holds:
        raise _NotPlain
