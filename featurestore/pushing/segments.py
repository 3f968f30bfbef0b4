"""A segment of the push log as bytes.

A segment begins with :data:`HEADER`, whose last two digits are the version of the format. Then come frames: length and
CRC-32 (of the length and the content) as big-endian numbers of 32 bits, and the content. A frame is what one fsync made
durable, and holds entries: the length of a JSON record, the record, the length of the rows, the rows as Arrow stream.

Frames are written one after the other, each only after the one before is on the disk. So a process or a machine that
dies leaves at most one frame torn, the last one, and nobody was told that its rows are kept.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import OfflineStoreError

_FORMAT = b"01"
_NAME = b"fspush"
HEADER = _NAME + _FORMAT
_FRAME = struct.Struct(">II")
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
    """

    view: str
    version: int
    only: bool
    at: int
    first: int
    rows: int
    body: bytes

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


def frame_of(entries: Iterable[Entry]) -> bytes:
    """Return the frame of some entries."""
    parts: list[bytes] = []
    for one in entries:
        said = {"view": one.view, "version": one.version, "only": one.only}
        record = json.dumps(said | {"at": one.at, "first": one.first, "rows": one.rows}).encode()
        parts += (_SIZE.pack(len(record)), record, _SIZE.pack(len(one.body)), one.body)
    content = b"".join(parts)
    return _FRAME.pack(len(content), _checksum(len(content), content)) + content


def _checksum(length: int, content: bytes | memoryview) -> int:
    return zlib.crc32(content, zlib.crc32(_SIZE.pack(length)))


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What the bytes of a segment hold.

    Attributes:
        entries: in order.
        end: how many bytes are whole frames; what is behind them is a torn one.
    """

    entries: tuple[Entry, ...]
    end: int


def parse(data: bytes, what: str, *, start: int = 0) -> Parsed:
    """Return the entries of a segment's bytes.

    Args:
        data: the segment, or what stands in it from ``start`` on.
        what: the segment, for errors.
        start: the place of ``data`` in the segment, at the begin of a frame; 0 with the header.

    Raises:
        OfflineStoreError: it is no segment, or of another format; or a frame is broken that others follow, which no
            crash does.
    """
    if start == 0:
        if not data.startswith(HEADER):
            if HEADER.startswith(data):  # its process died before the header was whole
                return Parsed(entries=(), end=0)
            raise _foreign(data, what)
        at = len(HEADER)
    else:
        at = 0
    view = memoryview(data)
    entries: list[Entry] = []
    while at < len(data):
        content = _content(view, at)
        if content is None:
            if _is_torn(view, at):
                break
            raise OfflineStoreError(
                f"The push log {what} is damaged at byte {start + at}.",
                hint="Rows behind it cannot be read. Bring the file back from a backup, or move it out of the folder: "
                "its rows are still served until their next materialization.",
            )
        entries += _entries(content)
        at += _FRAME.size + len(content)
    return Parsed(entries=tuple(entries), end=start + at)


def _foreign(data: bytes, what: str) -> OfflineStoreError:
    if data.startswith(_NAME):
        number = data[len(_NAME) : len(HEADER)].decode("ascii", "replace")
        return OfflineStoreError(
            f"The push log {what} has format {number}; this release reads {_FORMAT.decode()}.",
            hint="Let the release that wrote it bring its rows into the offline store: featurestore push --flush",
        )
    return OfflineStoreError(f"{what} is no push log.", hint="Move it out of the folder of [push].")


def _content(view: memoryview, at: int) -> memoryview | None:
    """Return the content of the frame at a place; None if it is not whole."""
    if at + _FRAME.size > len(view):
        return None
    length, checksum = _FRAME.unpack_from(view, at)
    content = view[at + _FRAME.size : at + _FRAME.size + length]
    return content if len(content) == length and length and _checksum(length, content) == checksum else None


def _is_torn(view: memoryview, at: int) -> bool:
    """Return whether a broken frame is the last one: a file system may have left zeros, or old bytes, behind it."""
    if at + _FRAME.size > len(view):
        return True
    length, _ = _FRAME.unpack_from(view, at)
    return _content(view, at + _FRAME.size + length) is None


def _entries(content: memoryview) -> Iterator[Entry]:
    at = 0
    while at < len(content):
        record, at = _sized(content, at)
        body, at = _sized(content, at)
        said: dict[str, Any] = json.loads(bytes(record))
        yield Entry(body=bytes(body), **said)


def _sized(content: memoryview, at: int) -> tuple[memoryview, int]:
    start = at + _SIZE.size
    end = start + _SIZE.unpack_from(content, at)[0]
    return content[start:end], end
