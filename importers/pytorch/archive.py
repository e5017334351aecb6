"""The zip container of a ``.pt2`` file: every entry checked before a byte of it is used, nothing written to disk.

torch writes stored (uncompressed), non-overlapping entries under one root folder. Deflated entries are read too, as
torch itself reads them, within :data:`MAX_INFLATED` bytes and a ratio to the file's own size.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from mpc_bridge.errors import ModelFormatError
from mpc_bridge.importers.base import printable

#: Greatest number of entries; a model has one per stored tensor and a dozen more.
MAX_ENTRIES = 20_000
#: Bytes that all compressed entries of a file may inflate to: this, and :data:`MAX_RATIO` times the file.
MAX_INFLATED = 64 * 2**20
MAX_RATIO = 8

_CENTRAL = b"PK\x01\x02"
_LOCAL = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x1

#: What the zipfile module raises for a corrupt file, beside its own BadZipFile.
_ZIP_ERRORS = (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OverflowError, RuntimeError, EOFError,
               KeyError, IndexError, OSError, zlib.error)


@dataclass(frozen=True)
class _Entry:
    """Where an entry's bytes lie in the file, and what they have to be."""

    start: int
    packed: int
    size: int
    crc: int
    deflated: bool


@dataclass(frozen=True)
class Archive:
    """A checked zip file.

    Attributes:
        data: the whole file.
        source: its name, for people.
        root: the folder that all entries lie in (``""``: none).
        entries: names without the root.
        checked: what has been read, so that a thousand tensors in one entry cost as much as one.
    """

    data: bytes = field(repr=False)
    source: str
    root: str
    entries: Mapping[str, _Entry] = field(repr=False)
    checked: dict[str, memoryview] = field(default_factory=dict, repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def size(self, name: str) -> int:
        """The size of an entry in bytes."""
        return self.entries[name].size

    def read(self, name: str, limit: int | None = None) -> memoryview:
        """The bytes of an entry, its checksum verified; stored entries are not copied.

        Raises:
            ModelFormatError: no such entry, more than ``limit`` bytes, or bytes that its header contradicts.
        """
        if name not in self.entries:
            raise self.error(f"there is no {name}")
        entry = self.entries[name]
        if limit is not None and entry.size > limit:
            raise self.error(f"{name} holds {entry.size} bytes; at most {limit} are read")
        if name in self.checked:
            return self.checked[name]
        content = memoryview(self.data)[entry.start : entry.start + entry.packed]
        if entry.deflated:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                inflated = inflater.decompress(content, entry.size + 1)
            except zlib.error:
                raise self.error(f"{name} is corrupt") from None
            content = memoryview(inflated)
        if len(content) != entry.size or zlib.crc32(content) != entry.crc:
            raise self.error(f"{name} is corrupt: its checksum or size is wrong")
        self.checked[name] = content
        return content

    def error(self, what: str) -> ModelFormatError:
        """The error for a file that is not what torch writes."""
        return ModelFormatError(printable(what, "corrupt"), where=self.source,
                                hint="the file is damaged or was not written by torch.export.save: export it again")


def open_archive(data: bytes, source: str) -> Archive:
    """The entries of a zip file.

    Args:
        data: the whole file; hostile.
        source: its name, for people.

    Raises:
        ModelFormatError: not a zip file, or entries that overlap, appear twice, leave the file, are encrypted, have
            unprintable names, or would inflate to more than the limits.
    """
    blank = Archive(data, source, "", {})
    # each entry that zipfile would list has this signature: a bound before it builds an object for each
    if data.count(_CENTRAL) > MAX_ENTRIES:
        raise blank.error(f"the archive has more than {MAX_ENTRIES} entries")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
    except _ZIP_ERRORS:
        raise blank.error("the zip archive is corrupt or truncated") from None
    entries: dict[str, _Entry] = {}
    spans: list[tuple[int, int]] = []
    inflated = 0
    for info in listed:
        name = info.filename
        if not name.isprintable() or name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise blank.error(f"an entry has the name {name!r}")
        if name in entries:
            raise blank.error(f"{name} is in the archive twice")
        if info.is_dir() and not info.file_size:
            continue
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise blank.error(f"{name} is encrypted or compressed in a way that torch does not write")
        entry = _locate(blank, info)
        spans.append((info.header_offset, entry.start + entry.packed))
        entries[name] = entry
        inflated += entry.size if entry.deflated else 0
    if inflated > MAX_INFLATED + MAX_RATIO * len(data):
        raise blank.error(f"the archive would inflate to {inflated} bytes")
    spans.sort()
    if any(after[0] < before[1] for before, after in zip(spans, spans[1:], strict=False)):
        raise blank.error("entries of the archive overlap")
    roots = {name.split("/", 1)[0] if "/" in name else "" for name in entries}
    root = roots.pop() if len(roots) == 1 else ""
    skip = len(root) + 1 if root else 0
    return Archive(data, source, root, {name[skip:]: entry for name, entry in entries.items()})


def _locate(blank: Archive, info: zipfile.ZipInfo) -> _Entry:
    """Follow an entry of the directory to its local header and its bytes."""
    data, name, offset = blank.data, info.filename, info.header_offset
    if not 0 <= offset <= len(data) - _LOCAL_HEADER.size:
        raise blank.error(f"{name} lies outside the file")
    header = _LOCAL_HEADER.unpack_from(data, offset)
    start = offset + _LOCAL_HEADER.size + header[9] + header[10]
    stored_name = data[offset + _LOCAL_HEADER.size : offset + _LOCAL_HEADER.size + header[9]]
    if header[0] != _LOCAL or stored_name != info.orig_filename.encode("utf-8", "surrogateescape"):
        raise blank.error(f"{name} points to something else")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    if start + info.compress_size > len(data) or (not deflated and info.compress_size != info.file_size):
        raise blank.error(f"{name} does not fit into the file")
    return _Entry(start, info.compress_size, info.file_size, info.CRC, deflated)
