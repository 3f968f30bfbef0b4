"""The id of the load of a file that a caller names: the same as long as its bytes are."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from featurestore.errors import DataError

#: Bytes that are hashed at once.
_CHUNK = 1 << 20


@contextmanager
def worked_out(file: Path) -> Iterator[Callable[[], str]]:
    """Yield what waits for the id, which a thread of its own works out: the file is opened and planned meanwhile.

    The thread ends with the block, even if it did not get to the file's end.

    Raises:
        DataError: the file cannot be read.
    """
    stopped = threading.Event()
    with _about(file):
        bytes_ = file.open("rb", buffering=0)
    with bytes_, ThreadPoolExecutor(1, "featurestore-file-id") as threads:
        running = threads.submit(_digest, bytes_, stopped)

        def load_id() -> str:
            with _about(file):
                return f"file-{running.result()[:24]}"

        try:
            yield load_id
        finally:
            stopped.set()


def _digest(bytes_: FileIO, stopped: threading.Event) -> str:
    digest = hashlib.sha256()
    chunk = memoryview(bytearray(_CHUNK))
    while not stopped.is_set() and (size := bytes_.readinto(chunk)):
        digest.update(chunk[:size])
    return digest.hexdigest()


@contextmanager
def _about(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
