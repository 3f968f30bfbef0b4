"""A segment of the push log as bytes.

A segment begins with a header, whose last two digits are the number of its format. Then come frames: four bytes
that begin every frame, the length of the content, CRC-32 of the length, CRC-32 of length and content, as big-endian
numbers of 32 bits, and the content. A frame is what one fsync made durable, and holds entries: the length of a JSON
record, the record, the length of the rows, the rows as Arrow stream.

Format 01 has what every release reads. In format 02 the record may also say the origins of the rows, on which the
first readers of 01 would fall over: they refuse 02 in a sentence instead. So only a segment that takes rows with
origins is of format 02, and servers of a release without them go on beside this one for as long as no stream is read.

Frames are written one after the other, each only after the one before is on the disk. So a process or a machine that
dies leaves at most one frame torn, the last one, and nobody was told that its rows are kept. Whatever else is broken is
damage, and never cut off: what lies before the acknowledged end (see :mod:`~featurestore.pushing.acknowledged`), what a
whole frame follows, wherever it begins, and all of a segment that grows no more.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore import formats
from featurestore.errors import OfflineStoreError

_NAME = b"fspush"
#: The newest format.
FORMAT = 2
HEADER = _NAME + b"01"
#: Of segments whose entries may have origins; as long as the other.
HEADER_WITH_ORIGINS = _NAME + b"02"
_HEADERS = (HEADER, HEADER_WITH_ORIGINS)
#: What a record says; a release that says more gives the format another number.
_SAID = frozenset({"view", "version", "only", "at", "first", "rows", "origins"})
_MAGIC = b"\xf5fr\x9a"  # is in no UTF-8 text
_FRAME = struct.Struct(">4sIII")
_SIZE = struct.Struct(">I")
#: What the length of a frame can say, and no more than a reader wants to hold.
MAX_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Rows of one push.

    Attributes:
        view: the view's name.
        version: the version whose checks the rows passed.
        only: whether the push named that version, and no other gets them.
        at: when they were pushed, in microseconds since 1970.
        first: the place of the first row in the segment; the others follow.
        rows: how many they are.
        body: the rows, as they came, as an Arrow stream.
        origins: see :mod:`featurestore.pushing.origins`.
    """

    view: str
    version: int
    only: bool
    at: int
    first: int
    rows: int
    body: bytes
    origins: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def batch(self) -> pa.RecordBatch:
        """Return the rows."""
        with pa.ipc.open_stream(self.body) as reader:
            return reader.read_next_batch()

    def without(self, gone: pa.BooleanArray) -> list[Entry]:
        """Return what is left without some rows; those that stay keep their places."""
        batch, kept = self.batch(), pc.invert(gone)
        runs = pc.run_end_encode(kept)
        found, start = [], 0
        for end, stays in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            if stays:
                # Taken, not sliced: a slice brings the bytes of the other rows along.
                rows = batch.take(pa.array(range(start, end)))
                found.append(replace(self, first=self.first + start, rows=end - start, body=body_of(rows)))
            start = end
        return found


def body_of(batch: pa.RecordBatch) -> bytes:
    """Return rows as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def header_for(entries: Iterable[Entry]) -> bytes:
    """Return the header of a segment that is to hold some entries."""
    return HEADER_WITH_ORIGINS if any(one.origins for one in entries) else HEADER


def number_of(header: bytes) -> int:
    """Return the format that the first bytes of a segment name; 0 if they name none."""
    digits = header[len(_NAME) : len(HEADER)]
    return int(digits) if header.startswith(_NAME) and digits.isdigit() else 0


def frame_of(entries: Iterable[Entry]) -> bytes:
    """Return the frame of some entries."""
    parts: list[bytes] = []
    for one in entries:
        said = {"view": one.view, "version": one.version, "only": one.only}
        said |= {"at": one.at, "first": one.first, "rows": one.rows}
        record = json.dumps(said | ({"origins": dict(one.origins)} if one.origins else {})).encode()
        parts += (_SIZE.pack(len(record)), record, _SIZE.pack(len(one.body)), one.body)
    content = b"".join(parts)
    head = _head_checksum(len(content))
    return _FRAME.pack(_MAGIC, len(content), head, zlib.crc32(content, head)) + content


def _head_checksum(length: int) -> int:
    return zlib.crc32(_SIZE.pack(length))


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What the bytes of a segment hold.

    Attributes:
        entries: in order.
        end: how many bytes are whole frames; what is behind them is a torn one.
    """

    entries: tuple[Entry, ...]
    end: int


def parse(data: bytes, what: str, *, start: int = 0, acknowledged: int = 0, sealed: bool = False) -> Parsed:
    """Return the entries of a segment's bytes.

    Args:
        data: the segment, or what stands in it from ``start`` on.
        what: the segment, for errors.
        start: the place of ``data`` in the segment, at the begin of a frame; 0 with the header.
        acknowledged: bytes of the segment that are known to have been whole.
        sealed: whether the segment grows no more, and so has no torn end.

    Raises:
        OfflineStoreError: it is no segment, or of another format; or it is damaged, by what no crash does.
    """
    if start == 0 and not data.startswith(_HEADERS):
        if not any(one.startswith(data) for one in _HEADERS):
            raise _foreign(data, what)
        if sealed or acknowledged > len(HEADER):
            raise _damaged(what, len(data))
        return Parsed(entries=(), end=0)  # its process died before the header was whole
    at = 0 if start else len(HEADER)
    view = memoryview(data)
    entries: list[Entry] = []
    while at < len(data):
        content = _content(view, at)
        if content is None:
            # A length that is broken does not say where the next frame would begin, so it is looked for everywhere.
            if sealed or start + at < acknowledged or _frame_behind(data, at):
                raise _damaged(what, start + at)
            break
        entries += _entries(content)
        at += _FRAME.size + len(content)
    if start + at < acknowledged:
        raise _damaged(what, start + at)
    return Parsed(entries=tuple(entries), end=start + at)


def _damaged(what: str, place: int) -> OfflineStoreError:
    return OfflineStoreError(
        f"The push log {what} is damaged at byte {place}.",
        hint="Rows behind it cannot be read. Bring the file and its .ack back from a backup, or move them out of "
        "the folder: its rows are still served until their next materialization.",
    )


def _foreign(data: bytes, what: str) -> OfflineStoreError:
    if data.startswith(_NAME):
        number = data[len(_NAME) : len(HEADER)].decode("ascii", "replace")
        otherwise = "Or let the release that wrote it bring its rows into the offline store: featurestore push --flush."
        known = f"{FORMAT:02}"
        return formats.newer(f"The push log {what}", number, known, error=OfflineStoreError, otherwise=otherwise)
    return OfflineStoreError(f"{what} is no push log.", hint="Move it out of the folder of [push].")


def _content(view: memoryview, at: int) -> memoryview | None:
    """Return the content of the frame at a place; None if it is not whole."""
    if at + _FRAME.size > len(view):
        return None
    magic, length, head, checksum = _FRAME.unpack_from(view, at)
    if magic != _MAGIC or not length or head != _head_checksum(length):
        return None
    content = view[at + _FRAME.size : at + _FRAME.size + length]
    return content if len(content) == length and zlib.crc32(content, head) == checksum else None


def _frame_behind(data: bytes, at: int) -> bool:
    """Return whether a whole frame begins anywhere behind a place."""
    view = memoryview(data)
    while (at := data.find(_MAGIC, at + 1)) >= 0:
        if _content(view, at) is not None:
            return True
    return False


def _entries(content: memoryview) -> Iterator[Entry]:
    at = 0
    while at < len(content):
        record, at = _sized(content, at)
        body, at = _sized(content, at)
        said: dict[str, Any] = json.loads(bytes(record))
        said = {name: value for name, value in said.items() if name in _SAID}
        origins = {name: (int(first), int(end)) for name, (first, end) in said.pop("origins", {}).items()}
        yield Entry(body=bytes(body), origins=origins, **said)


def _sized(content: memoryview, at: int) -> tuple[memoryview, int]:
    start = at + _SIZE.size
    end = start + _SIZE.unpack_from(content, at)[0]
    return content[start:end], end
