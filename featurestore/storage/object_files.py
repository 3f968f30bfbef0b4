"""An object as a file: read by ranges, written in parts, there when it is whole."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

from featurestore.storage.bucket import PART_BYTES, Bucket

if TYPE_CHECKING:
    from obstore import WritableFile

#: Parts of a file that are on their way at once, and so are held in memory.
_PARTS_AT_ONCE = 3


class ObjectReader(io.RawIOBase):
    """An object, from any place.

    Each thread has a place of its own, so that those that share the file do not move each other's.

    Args:
        bucket: the bucket.
        key: the name.
        size: how many bytes it has.
    """

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        super().__init__()
        self._bucket = bucket
        self._key = key
        self._here = threading.local()
        self.size = size

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return this thread's place."""
        return int(getattr(self._here, "place", 0))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move this thread's place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        self._here.place = start + offset
        return start + offset

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes by one request; fewer only at the end."""
        start = self.tell()
        left = max(self.size - start, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        import obstore

        with self._bucket.errors(f"{self._bucket.root}/{self._key}", "read"):
            found = bytes(obstore.get_range(self._bucket.store, self._key, start=start, length=wanted))
        self._here.place = start + len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes, and return how many they are."""
        view = memoryview(buffer)
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)


class ObjectWriter(io.RawIOBase):
    """An object in the making; it appears when this is closed, and never if the process ends before.

    Args:
        bucket: the bucket.
        key: the name.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
        super().__init__()
        import obstore

        self._bucket = bucket
        self._key = key
        self._written = 0
        self._file: WritableFile | None = obstore.open_writer(
            bucket.store, key, buffer_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def write(self, data: Any) -> int:
        """Take bytes; they go on their way when they are a part's worth."""
        view = memoryview(data).cast("B")
        if self._file is None:  # given up: a Parquet writer that is ended writes its footer all the same
            return len(view)
        with self._bucket.errors(f"{self._bucket.root}/{self._key}", "written"):
            self._file.write(bytes(view))
        self._written += len(view)
        return len(view)

    def close(self) -> None:
        """Make the object appear."""
        file, self._file = self._file, None
        try:
            if file is not None:
                with self._bucket.errors(f"{self._bucket.root}/{self._key}", "written"):
                    file.close()
        finally:
            super().close()

    def discard(self) -> None:
        """Let no object appear; what was sent of it is never seen, and the store's rules remove it."""
        self._file = None

    def __del__(self) -> None:
        # What nobody has closed is half a file: io would close, and so publish, it here.
        if getattr(self, "_file", None) is not None:
            self.discard()
