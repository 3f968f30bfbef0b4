"""Up to which byte the rows of a segment are acknowledged, in a file beside it: ``NUMBER.ack`` of ``NUMBER.wal``.

The end of a segment cannot tell whether its last frame was torn by a crash, which is cut off, or was whole, and told to
somebody, and is damaged. This file tells. It is written after the frame is on the disk, and not synced: that would cost
as much as the frame. So after the machine's crash it may say too little, never too much; then a broken end, if no whole
frame follows, counts as torn, and is moved aside. It holds the size and its CRC-32, as big-endian numbers of 64 and 32
bits.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

SUFFIX = ".ack"
_SIZE = struct.Struct(">Q")
_CHECKSUM = struct.Struct(">I")


def acknowledged(segment: Path) -> int:
    """Return the bytes of a segment that are known to have been whole; 0 if nothing is known."""
    try:
        data = segment.with_suffix(SUFFIX).read_bytes()
    except FileNotFoundError:
        return 0
    size, checksum = data[: _SIZE.size], data[_SIZE.size :]
    if len(size) < _SIZE.size or checksum != _CHECKSUM.pack(zlib.crc32(size)):
        return 0
    found: int = _SIZE.unpack(size)[0]
    return found


def acknowledge(segment: Path, size: int, *, sync: bool = False) -> None:
    """Write that so many bytes of a segment are whole.

    Args:
        segment: its file.
        size: in bytes.
        sync: whether it must be on the disk when this returns, as before a segment is made shorter.
    """
    packed = _SIZE.pack(size)
    descriptor = os.open(segment.with_suffix(SUFFIX), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(descriptor, packed + _CHECKSUM.pack(zlib.crc32(packed)), 0)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget(segment: Path) -> None:
    """Remove what is known of a segment that goes."""
    segment.with_suffix(SUFFIX).unlink(missing_ok=True)
