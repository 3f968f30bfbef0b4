"""Files of the push log, written so that what stands in them outlives the machine, and the errors of its disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from featurestore.errors import OfflineStoreError


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes where a file stands, however many calls the system takes for it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_new(path: Path, data: bytes) -> None:
    """Make a file; its bytes are on the disk when this returns, and its name once its folder is."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the disk's refusal to write a file into our error."""
    try:
        yield
    except OSError as error:
        raise OfflineStoreError(
            f"The push log {path} cannot be written: {error.strerror or error}.",
            hint='Check the disk\'s space and rights, and "path" under [push] in featurestore.toml.',
        ) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the disk's refusal to read a file into our error."""
    try:
        yield
    except OSError as error:
        raise OfflineStoreError(f"The push log {path} cannot be read: {error.strerror or error}.") from error
