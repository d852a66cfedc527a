"""Hostile and damaged archives: what is read, what is refused, and that memory and time stay small."""

import gzip
import io
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.archive import Budget, Entry, UnpackLimits
from worker.errors import ArchiveBroken, ArchiveTooLarge, ArchiveUnsafe
from worker.unpack import read_entries

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
LIMITS = UnpackLimits(max_entries=100, max_bytes=10 << 20, max_file_bytes=4 << 20)
Files = list[tuple[str, bytes]]


def make_tar(files: Files, mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def make_tar_gz(files: Files) -> bytes:
    return make_tar(files, "w:gz")


def make_zip(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as bundle:
        for name, data in files:
            bundle.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


MAKERS = {"tar": make_tar, "tar.gz": make_tar_gz, "zip": make_zip}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Entry]]:
    def read(data: bytes, filename: str = "photos", limits: UnpackLimits = LIMITS) -> list[Entry]:
        path = tmp_path / "part"
        path.write_bytes(data)
        entries = list(read_entries(path, filename, Budget(limits)))
        assert [p.name for p in tmp_path.iterdir()] == ["part"], "something was written"
        return entries

    return read


@every_kind
def test_images_are_read_in_order_with_their_paths(make, read) -> None:
    files = [("a/1.png", PNG), ("./b/2.png", PNG + b"2"), ("c.png", PNG * 100_000)]
    entries = read(make(files))
    assert [(e.name, e.data) for e in entries] == [("a/1.png", PNG), ("b/2.png", PNG + b"2"), files[2]]


@every_kind
def test_side_files_are_passed_over_and_lost_images_are_kept_to_be_reported(make, read) -> None:
    files = [
        ("__MACOSX/._1.png", PNG),
        (".DS_Store", b"x"),
        ("a/.hidden.png", PNG),
        ("Thumbs.db", b"x"),
        ("labels.txt", b"cats"),
        ("BMW.csv", b"BMW,1"),
        ("empty.jpg", b""),
        ("noname", PNG),
        ("drawing.svg", b"<svg/>"),
    ]
    assert [e.name for e in read(make(files))] == ["empty.jpg", "noname", "drawing.svg"]


@every_kind
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "points outside"),
        ("a/../../evil.png", "points outside"),
        ("/etc/evil.png", "absolute"),
        ("C:evil.png", "absolute"),
        ("a\\evil.png", "backslash"),
        ("..\\evil.png", "backslash"),
    ],
)
def test_a_name_that_leaves_the_archive_refuses_all_of_it(make, name: str, reason: str, read) -> None:
    with pytest.raises(ArchiveUnsafe, match=reason) as refused:
        read(make([("good.png", PNG), (name, PNG)]), "holiday.zip")
    assert refused.value.code == "archive_unsafe"
    assert "holiday.zip" in str(refused.value)


def test_a_nul_in_a_name_refuses_the_archive(read) -> None:
    with pytest.raises(ArchiveUnsafe, match="NUL"):
        read(make_zip([("good.pngXevil.txt", PNG)]).replace(b"pngXevil", b"png\0evil"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"path": "a\0.png"}
        tar.addfile(info)
    with pytest.raises(ArchiveUnsafe, match="NUL"):
        read(buffer.getvalue())


TAR_KINDS = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a device or a pipe": tarfile.CHRTYPE,
    "a device": tarfile.BLKTYPE,
    "a device or a pipe, not": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("kind", TAR_KINDS)
def test_a_tar_with_anything_but_plain_files_is_refused(kind: str, read) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("link.png")
        info.type, info.linkname = TAR_KINDS[kind], "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(ArchiveUnsafe, match=kind):
        read(buffer.getvalue())


@pytest.mark.parametrize(
    ("mode", "kind"), [(0o120777, "symbolic link"), (0o020666, "device"), (0o010666, "pipe")]
)
def test_a_zip_with_anything_but_plain_files_is_refused(mode: int, kind: str, read) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = mode << 16
        bundle.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveUnsafe, match=kind):
        read(buffer.getvalue())


def test_a_sparse_tar_entry_is_refused_because_its_holes_cost_nothing(read) -> None:
    info = tarfile.TarInfo("holes.png")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    with pytest.raises(ArchiveUnsafe, match="sparse"):
        read(bytes(header) + bytes(1024))


@every_kind
def test_a_bomb_stops_at_the_byte_limit_though_its_entries_are_not_images(make, read) -> None:
    bomb = make([(f"{i}.txt", bytes(1 << 20)) for i in range(20)] + [("a.png", PNG + bytes(11 << 20))])
    limits = UnpackLimits(max_entries=100, max_bytes=10 << 20, max_file_bytes=20 << 20, max_ratio=10**6)
    with pytest.raises(ArchiveTooLarge, match="10,485,760 bytes"):
        read(bomb, limits=limits)


@pytest.mark.parametrize("make", [make_tar_gz, make_zip])
def test_a_bomb_stops_at_the_ratio_limit(make, read) -> None:
    limits = UnpackLimits(max_entries=9, max_bytes=1 << 40, max_file_bytes=1 << 40, ratio_free_bytes=1 << 20)
    with pytest.raises(ArchiveTooLarge, match="more than 200 times its size"):
        read(make([("a.png", PNG + bytes(8 << 20))]), limits=limits)


@every_kind
def test_millions_of_entries_stop_at_the_entry_limit(make, read) -> None:
    with pytest.raises(ArchiveTooLarge, match="more than 100 entries"):
        read(make([(f"{i}/", b"") for i in range(101)]))


def test_a_zip_that_understates_its_entry_count_is_still_counted(read) -> None:
    data = bytearray(make_zip([(f"{i}", b"") for i in range(101)]))
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<HH", data, end + 8, 1, 1)
    with pytest.raises(ArchiveTooLarge, match="more than 100 entries"):
        read(bytes(data))


def test_overlapping_zip_entries_are_counted_each_time_they_are_read(read) -> None:
    """Many directory records that share one body, the construction of the best known bombs."""
    kernel = make_zip([("a.png", PNG + bytes(1 << 20))])
    end = kernel.rindex(b"PK\x05\x06")
    start = kernel.index(b"PK\x01\x02")
    record, body = kernel[start:end], kernel[:start]
    copies = 30
    tail = bytearray(kernel[end:])
    struct.pack_into("<HHL", tail, 8, copies, copies, copies * len(record))
    with pytest.raises(ArchiveTooLarge, match="10,485,760"):
        read(body + record * copies + bytes(tail), limits=UnpackLimits(100, 10 << 20, 4 << 20, 10**6))


def test_a_zip_entry_that_understates_its_size_is_damaged_not_a_bomb(read) -> None:
    data = bytearray(make_zip([("a.png", PNG + bytes(1 << 20)), ("b.png", PNG)]))
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(magic) + offset, 10)
    damaged, good = read(bytes(data))
    assert "is damaged" in damaged.problem
    assert (good.name, good.data) == ("b.png", PNG)


def test_a_tar_entry_that_overstates_its_size_ends_soon(read) -> None:
    info = tarfile.TarInfo("a.txt")
    info.size = 1 << 60
    with pytest.raises(ArchiveBroken):
        read(info.tobuf(tarfile.GNU_FORMAT) + b"short")


def test_a_tar_header_that_asks_for_much_memory_is_refused(read) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 20
    tracemalloc.start()
    with pytest.raises(ArchiveBroken, match="extension header is too large"):
        read(make_tar([("ok.png", PNG)])[:1024] + info.tobuf(tarfile.GNU_FORMAT) + bytes(4 << 20))
    tracemalloc.stop()


def test_a_long_chain_of_extension_headers_is_refused(read) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 512
    link = info.tobuf(tarfile.PAX_FORMAT) + b"13 path=abcd\n".ljust(512, b"\0")
    with pytest.raises((ArchiveUnsafe, ArchiveBroken)):
        read(link * 3000)


def test_an_archive_inside_an_archive_is_not_opened(read) -> None:
    inner = make_zip([("deep.png", PNG)])
    entries = read(make_zip([("inner.zip", inner), ("inner.png", inner), ("a.png", PNG)]))
    assert [e.name for e in entries] == ["inner.png", "a.png"]
    assert entries[0].data == inner


@every_kind
def test_a_truncated_archive_is_refused_as_a_whole(make, read) -> None:
    noise = random.Random(0).randbytes(3000)
    data = make([(f"{i}.png", PNG + noise[i:]) for i in range(10)])
    middle = len(data) // 2 // 512 * 512
    for end in (middle, middle + 100, middle + 512, middle + 1000):
        with pytest.raises(ArchiveBroken, match="cannot be read to its end"):
            read(data[:end])


def test_a_tar_whose_middle_header_is_damaged_is_not_silently_cut(read) -> None:
    data = bytearray(make_tar([("a.png", PNG), ("b.png", PNG), ("c.png", PNG)]))
    data[1024 + 150] ^= 0x1
    with pytest.raises(ArchiveBroken, match="header is damaged"):
        read(bytes(data))


def test_a_zip_member_with_a_wrong_checksum_costs_that_member_only(read) -> None:
    data = bytearray(make_zip([("a.png", PNG * 50), ("b.png", PNG)], zipfile.ZIP_STORED))
    data[data.index(PNG) + 20] ^= 0xFF
    damaged, good = read(bytes(data))
    assert (damaged.name, good.name) == ("a.png", "b.png")
    assert "CRC" in damaged.problem


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_rare_zip_methods_are_reported_and_not_run(method: int, read) -> None:
    (entry,) = read(make_zip([("a.png", PNG), ("notes.txt", b"x")], method))
    assert entry.problem == "is compressed by a method other than deflate"


def test_an_encrypted_member_is_reported(read) -> None:
    data = bytearray(make_zip([("a.png", PNG)]))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    (entry,) = read(bytes(data))
    assert entry.problem == "is encrypted"


def test_a_member_over_the_file_limit_is_reported_and_the_rest_is_read(read) -> None:
    for make in MAKERS.values():
        big, small = read(make([("big.png", PNG + bytes(5 << 20)), ("small.png", PNG)]))
        assert big.problem == "is larger than 4,194,304 bytes"
        assert small.data == PNG


def test_a_part_is_told_by_its_content_and_not_by_its_name(read) -> None:
    assert read(make_zip([("a.png", PNG)]), "photos.tar")[0].name == "a.png"
    assert read(make_tar([("a.png", PNG)]), "photos.zip")[0].name == "a.png"
    assert read(PNG, "photo.zip") == [Entry("photo.zip", PNG)]
    assert read(b"text", r"C:\me\notes.txt") == [Entry("notes.txt", b"text")]


def test_gzip_without_a_tar_inside_is_refused(read) -> None:
    with pytest.raises(ArchiveBroken):
        read(gzip.compress(PNG * 1000))


@every_kind
def test_an_empty_archive_holds_nothing(make, read) -> None:
    assert read(make([])) == []


def test_a_zip_with_bytes_before_it_is_read(read) -> None:
    """Self-extracting archives start with a program; a JPEG with a zip behind it stays a JPEG."""
    jpeg = b"\xff\xd8\xff" + bytes(600)
    assert read(jpeg + make_zip([("a.png", PNG)]), "both.jpg")[0].name == "both.jpg"


def test_duplicate_and_colliding_names_are_all_read(read) -> None:
    names = ["a.png", "A.png", "e\u0301.png", "\u00e9.png", "<script>alert(1)</script>.png"]
    for make in MAKERS.values():
        assert [e.name for e in read(make([(n, PNG) for n in names]))] == names
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = make_zip([("a.png", PNG), ("a.png", PNG + b"2")])
    assert [e.data for e in read(twice)] == [PNG, PNG + b"2"]


def test_a_name_that_is_no_unicode_can_be_reported_as_json(read) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        info = tarfile.TarInfo("caf\u00e9.png")
        info.size = len(PNG)
        tar.addfile(info, io.BytesIO(PNG))
    (entry,) = read(buffer.getvalue())
    assert entry.name.encode("utf-8") == b"caf\\udce9.png"


def test_memory_stays_small_however_large_the_archive_is(tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    image = PNG + bytes(1 << 20)
    with tarfile.open(path, "w") as tar:
        for i in range(60):
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(image)
            tar.addfile(info, io.BytesIO(image))
    tracemalloc.start()
    count = sum(1 for _ in read_entries(path, "many.tar", Budget(UnpackLimits(100, 1 << 30, 4 << 20))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60
    assert peak < 12 << 20
